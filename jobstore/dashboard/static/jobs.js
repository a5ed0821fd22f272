// What makes pages live. Every page works without it.

const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const memory = {
  get(name) { try { return localStorage.getItem(`jobstore-${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`jobstore-${name}`, value); } catch { /* for this page, then */ } },
};
const parsed = async (answer) => new DOMParser().parseFromString(await answer.text(), 'text/html');

// --- what somebody likes ------------------------------------------------------------------------

const THEMES = ['auto', 'light', 'dark'];
const theme = one('#theme');

function wear(name) {
  if (name === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  if (theme) theme.textContent = `Theme: ${name}`;
}
let worn = THEMES.includes(memory.get('theme')) ? memory.get('theme') : 'auto';
wear(worn);
theme?.toggleAttribute('hidden');
theme?.addEventListener('click', () => {
  worn = THEMES[(THEMES.indexOf(worn) + 1) % THEMES.length];
  memory.set('theme', worn);
  wear(worn);
});

// --- a piece of a page becomes what it is by now, and nothing that stays is touched -------------

const OURS = new Set(['open', 'disabled', 'data-selected']);
const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.dataset.key || node.id : '');

function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) { old.replaceWith(fresh); return; }
  if (old.nodeType !== Node.ELEMENT_NODE) { old.data = fresh.data; return; }
  for (const { name, value } of [...fresh.attributes]) {
    if (!OURS.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!OURS.has(name) && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  const keyed = new Map([...old.children].filter(keyOf).map((each) => [keyOf(each), each]));
  const staying = new Set([...fresh.children].map(keyOf).filter(Boolean));
  let at = old.firstChild;
  const drop = () => { const gone = at; at = at.nextSibling; gone.remove(); };
  for (const each of [...fresh.childNodes]) {
    const key = keyOf(each);
    const match = key ? keyed.get(key) : at && !keyOf(at) && at.nodeName === each.nodeName && at;
    if (!match) { old.insertBefore(each, at); continue; }
    while (at && at !== match && !staying.has(keyOf(at))) drop();
    if (at === match) at = match.nextSibling;
    else old.insertBefore(match, at);
    morph(match, each);
  }
  while (at) drop();
}

// --- fetching what has changed: one request at a time, with pauses -------------------------------

const PAUSE = 1000;

const region = one('[data-live]');
let busy = false;
let wanted = false;
let looked = performance.now();

function here() {
  const url = new URL(location.href);
  url.searchParams.delete('done');
  if (region.dataset.top) url.searchParams.set('top', region.dataset.top);
  return url;
}

async function refresh() {
  if (!region || document.hidden) return;
  if (busy) { wanted = true; return; }
  busy = true;
  wanted = false;
  looked = performance.now();
  try {
    const answer = await fetch(here());
    if (answer.ok && !answer.redirected) show(await parsed(answer));
  } catch { /* the feed says when the server is there again */ }
  setTimeout(() => { busy = false; if (wanted) refresh(); }, Math.max(PAUSE, 10 * (performance.now() - looked)));
}

function show(page) {
  const focused = document.activeElement;
  for (const each of all('[data-live], [data-fresh]')) {
    const fresh = page.getElementById(each.id);
    if (fresh) morph(each, fresh);
  }
  document.title = page.title;
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  if (region.dataset.says) announce(region.dataset.says);
  pick();
}

// --- being told of changes -----------------------------------------------------------------------

const indicator = one('#live');
const refreshLink = indicator?.firstElementChild;
const SELDOM = 5000;
let source;

function connect() {
  if (!indicator || source || document.hidden || memory.get('live') === 'off') return;
  source = new EventSource(indicator.dataset.feed);
  source.addEventListener('open', () => indicate(true));
  source.addEventListener('jobs', (event) => hear(JSON.parse(event.data)));
  source.addEventListener('error', () => {
    indicate(false);
    if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    source = undefined;
    setTimeout(connect, 30_000);
  });
}

function disconnect() {
  source?.close();
  source = undefined;
}

const toggle = document.createElement('button');
toggle.type = 'button';
toggle.className = 'ghost';
toggle.addEventListener('click', () => {
  memory.set('live', memory.get('live') === 'off' ? 'on' : 'off');
  disconnect();
  indicate(false);
  connect();
  if (source) refresh();
});

function indicate(live) {
  toggle.textContent = live ? '● live' : '○ not live';
  toggle.title = memory.get('live') === 'off' ? 'Show changes as they happen' : 'Stop showing changes';
  indicator.replaceChildren(...(live ? [toggle] : [toggle, refreshLink]));
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) disconnect();
  else { connect(); refresh(); }
});
addEventListener('pagehide', disconnect);
addEventListener('pageshow', connect);
setInterval(() => { if (source && region?.hasAttribute('data-open')) refresh(); }, SELDOM);

function hear({ counters, changed, more }) {
  if (counters.jobs) count(counters);
  if (!region) return;
  const { live, id, top } = region.dataset;
  const open = region.hasAttribute('data-open') || one('.s-running, .s-queued', region);
  const shown = live === 'jobs' ? changed.some((each) => document.getElementById(`job-${each}`))
    : live === 'job' ? changed.includes(Number(id)) : open;
  const ahead = live === 'jobs' && !(counters.jobs && total) && changed.some((each) => each > (top ?? 0));
  const empty = live === 'jobs' && !one('tr[data-id]', region) && !one('[rel=next]', region);
  const maybe = ahead || (more && open) || live === 'any' || (empty && changed.length);
  if (shown || (maybe && performance.now() - looked > SELDOM)) refresh();
}

// Where the numbers of all jobs are shown, they say how many are newer than what is shown.
const newer = one('#newer');
const total = one('.tabs [aria-current] b[data-count="all"]');
const base = Number(total?.textContent.replaceAll(',', ''));

function count({ jobs, results }) {
  const sum = Object.values(jobs).reduce((a, b) => a + b, 0);
  for (const each of all('b[data-count]')) {
    const name = each.dataset.count;
    const number = name === 'all' ? sum : name === 'result held' ? results.held : jobs[name];
    each.textContent = number.toLocaleString('en-US');
  }
  if (newer && total && sum > base && region.dataset.top) {
    newer.firstElementChild.textContent = `${(sum - base).toLocaleString('en-US')} newer`;
    newer.hidden = false;
  }
  if (region?.dataset.live === 'jobs') announce(`${jobs.running} running, ${jobs.queued} queued, ${jobs.failed} failed`);
}

const QUIET = 10_000;
const news = one('#news');
let said = -QUIET;

function announce(text) {
  if (!news || news.textContent === text || performance.now() - said < QUIET) return;
  said = performance.now();
  news.textContent = text;
}

// --- questions: a dialog over the page instead of a page -----------------------------------------

async function ask(url, opener) {
  const answer = await fetch(url).catch(() => null);
  const form = answer && !answer.redirected ? one('form.ask', await parsed(answer)) : null;
  if (!form) { location.assign(url); return; }
  form.action = new URL(form.getAttribute('action'), answer.url);
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', 'ask-title');
  dialog.append(form);
  document.body.append(dialog);
  dialog.addEventListener('close', () => { dialog.remove(); opener?.focus(); });
  one('[data-close]', dialog).addEventListener('click', (event) => { event.preventDefault(); dialog.close(); });
  dialog.showModal();
}

document.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-ask]');
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  ask(link.href, link);
});
document.addEventListener('submit', (event) => {
  if (!event.target.matches('form[data-ask]')) return;
  event.preventDefault();
  const url = new URL(event.submitter.formAction);
  url.search = new URLSearchParams(new FormData(event.target));
  ask(url, event.submitter);
});

// --- selecting -----------------------------------------------------------------------------------

function pick() {
  const picked = all('td.check input:checked').map((each) => each.closest('tr'));
  for (const row of all('tr[data-id]')) row.toggleAttribute('data-selected', picked.includes(row));
  for (const button of all('#selection button')) {
    button.disabled = !picked.some((row) => row.dataset.can.split(' ').includes(button.value));
  }
  const told = one('#picked');
  if (told) told.textContent = `${picked.length} selected`;
}
document.addEventListener('change', (event) => { if (event.target.matches('td.check input')) pick(); });
pick();

// --- keys ----------------------------------------------------------------------------------------

const current = () => document.activeElement?.closest('tr[data-id]');

function step(by) {
  const rows = all('tr[data-id]');
  const at = rows.indexOf(current());
  one('td.id a', rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)] ?? document)?.focus();
}

function retry() {
  const [button, row] = [one('#selection button[value=retry]:enabled'), current()];
  if (button || !row) (button ?? one('a[data-ask][data-action=retry]'))?.click();
  else if (row.dataset.can.split(' ').includes('retry')) ask(`${one('td.id a', row).href}/retry`, one('td.id a', row));
}

const keys = one('#keys');
const KEYS = {
  '/': () => one('#q')?.focus(),
  j: () => step(1),
  k: () => step(-1),
  x: () => current() && one('td.check input', current())?.click(),
  r: retry,
  '?': () => keys?.showModal(),
};
document.addEventListener('keydown', (event) => {
  const typing = event.target.matches('input:not([type=checkbox]), textarea, select');
  const act = KEYS[event.key];
  if (!act || typing || event.ctrlKey || event.metaKey || event.altKey || one('dialog[open]')) return;
  event.preventDefault();
  act();
});
one('#help')?.toggleAttribute('hidden');
one('#help')?.addEventListener('click', KEYS['?']);

// --- copying -------------------------------------------------------------------------------------

async function copy(code) {
  if (navigator.clipboard) return navigator.clipboard.writeText(code.textContent);
  getSelection().selectAllChildren(code); // without TLS, browsers have no other way
  return document.execCommand('copy');
}
for (const code of all('.cmd > code')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.addEventListener('click', async () => { await copy(code); button.textContent = 'Copied'; });
  code.after(button);
}

connect();
