// Charts with links are one Tab stop each, at first their newest bar; the arrow keys lead on from there.
// Without this script, each bar is a stop.
const STEPS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

for (const chart of document.querySelectorAll('svg.bars')) {
  const bars = [...chart.querySelectorAll('a')];
  const stop = (bar) => bars.forEach((each) => each.setAttribute('tabindex', each === bar ? 0 : -1));
  stop(bars.at(-1));
  // Not at the chart itself: Chromium stops at an SVG that listens for the focus.
  chart.parentElement.addEventListener('focusin', (event) => stop(event.target));
  chart.addEventListener('keydown', (event) => {
    if (!Object.hasOwn(STEPS, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const at = bars.indexOf(event.target) + STEPS[event.key];
    bars[Math.min(Math.max(at, 0), bars.length - 1)].focus();
  });
}
