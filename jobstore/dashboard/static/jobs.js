// What makes pages live. Every page works without it.
const one = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const parsed = async (answer) => new DOMParser().parseFromString(await answer.text(), 'text/html');
const memory = {
  get(name) { try { return localStorage.getItem(`jobstore-${name}`); } catch { return null; } },
  set(name, value) { try { localStorage.setItem(`jobstore-${name}`, value); } catch { /* then not */ } },
};

// --- the theme that somebody likes
const THEMES = ['auto', 'light', 'dark'];
const theme = one('#theme');
const worn = () => Math.max(0, THEMES.indexOf(memory.get('theme')));
function wear() {
  document.documentElement.dataset.theme = THEMES[worn()];
  if (theme) theme.textContent = `Theme: ${THEMES[worn()]}`;
}
theme?.addEventListener('click', () => { memory.set('theme', THEMES[(worn() + 1) % THEMES.length]); wear(); });
wear();

// --- a piece of a page becomes what it is by now, and what stays is not touched
const OURS = new Set(['open', 'disabled', 'data-selected']);
// By the attribute, since a form with a field of that name has another id.
const keyOf = (node) => node.dataset?.key ?? node.getAttribute?.('id');

function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) return void old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.data = fresh.data);
  for (const { name } of [...old.attributes, ...fresh.attributes]) {
    const value = fresh.getAttribute(name);
    if (OURS.has(name) || value === old.getAttribute(name)) continue;
    if (value === null) old.removeAttribute(name);
    else old.setAttribute(name, value);
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
    while (match && at && at !== match && !staying.has(keyOf(at))) drop();
    if (match && match === at) at = at.nextSibling;
    else old.insertBefore(match || each, at);
    if (match) morph(match, each);
  }
  while (at) drop();
}

// --- fetching what has changed: one request at a time, and with pauses
const [PAUSE, SELDOM, RARELY] = [1000, 5000, 10_000];
const region = one('[data-live]');
let [busy, wanted, looked] = [false, false, performance.now()];

async function refresh() {
  wanted = true;
  if (!region || document.hidden || busy) return;
  const url = new URL(location.href);
  url.searchParams.delete('done');
  if (region.dataset.top) url.searchParams.set('top', region.dataset.top);
  [busy, wanted, looked] = [true, false, performance.now()];
  try {
    const answer = await fetch(url);
    if (answer.ok && !answer.redirected) show(await parsed(answer));
  } catch { /* the feed says when the server is there again */ }
  const pause = Math.max(PAUSE, 10 * (performance.now() - looked));
  setTimeout(() => { busy = false; if (wanted) refresh(); }, pause);
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

// --- being told of changes: not while nobody looks
const indicator = one('#live');
let source;
function connect() {
  if (!indicator || source || document.hidden || memory.get('live') === 'off') return;
  source = new EventSource(indicator.dataset.feed);
  source.addEventListener('open', () => indicate(true));
  source.addEventListener('jobs', (event) => hear(JSON.parse(event.data)));
  source.addEventListener('error', () => {
    indicate(false);
    if (source?.readyState !== EventSource.CLOSED) return; // it tries again by itself
    source = undefined;
    setTimeout(connect, 30_000);
  });
}

function disconnect() { source?.close(); source = undefined; }
function indicate(live) {
  one('button', indicator).textContent = live ? '● live' : '○ not live';
  one('a', indicator).hidden = live;
}

indicator?.firstElementChild.addEventListener('click', () => {
  memory.set('live', source ? 'off' : 'on');
  if (source) disconnect();
  else refresh();
  indicate(false);
  connect();
});
document.addEventListener('visibilitychange', () => { if (document.hidden) disconnect(); connect(); refresh(); });
addEventListener('pagehide', disconnect);
addEventListener('pageshow', connect);
setInterval(() => { if (source && region?.hasAttribute('data-open')) refresh(); }, SELDOM);

function hear({ counters, changed, more }) {
  if (counters.jobs) count(counters);
  if (!region) return;
  const { live, id, top } = region.dataset;
  const list = live === 'jobs';
  const open = region.hasAttribute('data-open') || one('.s-running, .s-queued', region);
  const shown = list ? changed.some((each) => document.getElementById(`job-${each}`))
    : live === 'job' ? changed.includes(Number(id)) : live === 'operation' && open;
  const empty = list && !top && !location.search.includes('cursor=');
  const newer = list && top && !(total && counters.jobs) && changed.some((each) => each > top);
  const maybe = newer || live === 'any' || (more && open) || (empty && (more || changed.length));
  if (shown || (maybe && performance.now() - looked > RARELY)) refresh();
}

// Where the number of all jobs is shown, it says how many are newer than those that are.
const total = one('.tabs [aria-current] b[data-count="all"]');
const base = Number(total?.textContent.replaceAll(',', ''));

function count({ jobs, results }) {
  const sum = Object.values(jobs).reduce((a, b) => a + b, 0);
  const numbers = { ...jobs, all: sum, 'result held': results.held };
  for (const each of all('b[data-count]')) each.textContent = numbers[each.dataset.count].toLocaleString('en-US');
  if (total && sum > base && region?.dataset.top) {
    one('#newer').hidden = false;
    one('#newer a').textContent = `${(sum - base).toLocaleString('en-US')} newer`;
  }
  if (region?.dataset.live === 'jobs') announce(`${jobs.running} running, ${jobs.queued} queued, ${jobs.failed} failed`);
}

const QUIET = 10_000;
let said = -QUIET;
function announce(text) {
  const news = one('#news');
  if (news.textContent === text || performance.now() - said < QUIET) return;
  [said, news.textContent] = [performance.now(), text];
}

// --- questions: a dialog over the page instead of a page
async function ask(url, opener) {
  const answer = await fetch(url).catch(() => null);
  const form = answer && !answer.redirected ? one('form.ask', await parsed(answer)) : null;
  if (!form) return location.assign(url);
  form.action = new URL(form.getAttribute('action'), answer.url);
  const dialog = document.createElement('dialog');
  dialog.setAttribute('aria-labelledby', 'ask-title');
  dialog.append(form);
  document.body.append(dialog);
  dialog.addEventListener('close', () => { dialog.remove(); opener.focus(); });
  one('[data-close]', dialog).addEventListener('click', (event) => { event.preventDefault(); dialog.close(); });
  return dialog.showModal();
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
  ask(`${event.submitter.formAction}?${new URLSearchParams(new FormData(event.target))}`, event.submitter);
});

// --- selecting, keys, copying
function pick() {
  const picked = all('td.check input:checked').map((each) => each.closest('tr'));
  for (const row of all('tr[data-id]')) row.toggleAttribute('data-selected', picked.includes(row));
  for (const each of all('#selection button')) {
    const able = picked.filter((row) => row.dataset.can.split(' ').includes(each.value)).length;
    each.disabled = !able;
    one('.number', each).textContent = able ? `${able} ` : '';
  }
  if (one('#picked')) one('#picked').textContent = `${picked.length} selected`;
  const [some, others] = [picked.length > 0, one('td.check input:not(:checked)') !== null];
  Object.assign(one('#whole') ?? {}, { checked: some && !others, indeterminate: some && others });
}

let last; // the box that was clicked before; with Shift, all from there on follow
document.addEventListener('click', ({ target, shiftKey }) => {
  if (!target.matches('.check input')) return;
  const boxes = all('td.check input');
  const [from, to] = [boxes.indexOf(last), boxes.indexOf(target)].sort((a, b) => a - b);
  const range = boxes.slice(from, shiftKey && from >= 0 ? to + 1 : from);
  for (const each of target.id === 'whole' ? boxes : range) each.checked = target.checked;
  last = target;
  pick();
});
pick();

const current = () => document.activeElement.closest('tr[data-id]');
function step(by) {
  const links = all('tr[data-id] td.id a');
  const at = links.findIndex((each) => current()?.contains(each));
  links[at < 0 ? 0 : Math.min(Math.max(at + by, 0), links.length - 1)]?.focus();
}

function retry() {
  const link = current() && one('td.id a', current());
  const known = one('#selection button[value=retry]:enabled') ?? one('a[data-ask][data-action=retry]');
  if (known) known.click();
  else if (current()?.dataset.can?.split(' ').includes('retry')) ask(`${link.href}/retry`, link);
}

const KEYS = {
  '/': () => one('#q')?.focus(),
  j: () => step(1),
  k: () => step(-1),
  x: () => one('tr[data-id]:focus-within td.check input')?.click(),
  r: retry,
  '?': () => { one('#keys')?.showModal(); one('#keys')?.scrollTo(0, 0); }, // not to the button with the focus
};
document.addEventListener('keydown', (event) => {
  const typing = event.target.matches('input:not([type=checkbox]), textarea, select');
  if (!Object.hasOwn(KEYS, event.key) || typing || event.ctrlKey || event.metaKey || event.altKey || one('dialog[open]')) return;
  event.preventDefault();
  KEYS[event.key]();
});
one('#help')?.addEventListener('click', KEYS['?']);
document.addEventListener('click', ({ target }) => {
  if (!target.matches('[data-copy]')) return;
  const code = target.previousElementSibling;
  getSelection().selectAllChildren(code); // without TLS, browsers have no other way
  navigator.clipboard?.writeText(code.textContent) ?? document.execCommand('copy');
  target.textContent = 'Copied';
});

connect();
