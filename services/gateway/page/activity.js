// Activity: what agents and people did, newest first; filters, live mode, chart, export.

import { get } from './api.js';
import { el, exactly, plural } from './dom.js';
import { providerLabel, providers } from './providers.js';
import { ACTIONS, actionText, asCsv, asJsonLines, fetchAll, fetchPage, folded, newerThan, outcomeOf, resultText } from './records.js';
import { button, complain, empty, field, row, say, select, table } from './ui.js';
import { chart, narrow } from './chart.js';

const LIVE_MS = 2000;
const LIVE_PAGES = 5;
const EXPORT_MOST = 50000;

const OUTCOMES = [['', 'Any outcome'], ['kind=denied', 'Denied'], ['status=2xx', 'Answered (2xx)'],
  ['status=4xx', 'Refused by the provider (4xx)'], ['status=5xx', 'Failed (5xx)'], ['status=429', 'Too many (429)']];
const SPANS = [['', 'All time'], ['15', 'Last 15 minutes'], ['60', 'Last hour'], ['1440', 'Last 24 hours'], ['10080', 'Last 7 days']];
const COLUMNS = ['Time', 'Agent', 'Provider', 'What', 'Outcome'];
const NAMES = ['agent', 'provider', 'action', 'outcome', 'span'];

// --- filters: they live in the address, so that a view can be kept and shared ---------------------

function chosenIn(params) {
  return Object.fromEntries(NAMES.map((name) => [name, params.get(name) ?? '']));
}

function filtersOf(chosen) {
  const { agent, provider, action, outcome, span } = chosen;
  return { agent, provider, action, ...Object.fromEntries(new URLSearchParams(outcome)),
    since: span ? new Date(Date.now() - Number(span) * 6e4).toISOString() : '' };
}

function filterBar(chosen, agents, known) {
  const goTo = (event) => {
    const values = Object.fromEntries(new FormData(event.currentTarget.form));
    const params = String(new URLSearchParams(Object.entries(values).filter(([, value]) => value)));
    location.hash = params ? `#/activity?${params}` : '#/activity';
  };
  const agentRows = agents.map((agent) => [agent.id, agent.name]);
  if (chosen.agent && !known.has(chosen.agent)) agentRows.push([chosen.agent, `${chosen.agent} (deleted)`]);
  const one = (label, name, options) =>
    field(label, select(options, { name, onchange: goTo }, chosen[name]));
  return el('form', { class: 'filters', 'aria-label': 'Filter', onsubmit: (event) => event.preventDefault() },
    one('Agent', 'agent', [['', 'All agents'], ...agentRows]),
    one('Provider', 'provider', [['', 'All providers'], ...providers().map((row) => [row.name, row.title])]),
    one('Action', 'action', [['', 'All actions'], ...Object.entries(ACTIONS)]),
    one('Outcome', 'outcome', OUTCOMES),
    one('Time', 'span', SPANS));
}

// --- the list ----------------------------------------------------------------------------------

const size = (bytes) => (bytes == null ? '' : bytes < 1000 ? `${bytes} B` : bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB`
  : `${(bytes / 1e6).toFixed(1)} MB`);

const DETAILS = [['request', 'Request'], ['client', 'From'], ['token', 'Token'], ['reason', 'Reason'], ['bytes_in', 'Sent', size],
  ['bytes_out', 'Received', size], ['seq', 'Record'], ['log', 'Log']];

function what(record) {
  const rows = DETAILS.filter(([name]) => record[name] != null && record[name] !== '');
  // What was done to the account names its object as the reason.
  const told = record.method || record.path
    ? el('code', { class: 'target' }, [record.method, record.path].filter(Boolean).join(' '))
    : el('span', {}, actionText(record.action), outcomeOf(record) === 'fine' && record.reason ? [' ', el('code', {}, record.reason)] : null);
  return el('details', { class: 'more' }, el('summary', {}, told),
    el('dl', {}, rows.map(([name, label, form = String]) => [el('dt', {}, label), el('dd', {}, form(record[name]))])));
}

function outcome(record) {
  const kind = outcomeOf(record);
  const chip = record.action === 'call' || kind !== 'fine';
  return [el('span', { class: chip ? `chip ${kind}` : 'muted' }, resultText(record)),
    kind === 'denied' && record.reason ? el('span', { class: 'beside' }, record.reason) : null,
    record.duration_ms != null ? el('span', { class: 'beside' }, `${record.duration_ms} ms`) : null];
}

const line = (record, known, fresh) => row([
  [COLUMNS[0], exactly(record.time)],
  [COLUMNS[1], record.agent ? known.get(record.agent) ?? el('code', { class: 'muted' }, record.agent) : el('span', { class: 'muted' }, 'You')],
  [COLUMNS[2], record.provider ? providerLabel(record.provider) : el('span', { class: 'muted' }, '\u2013')],
  [COLUMNS[3], what(record)],
  [COLUMNS[4], outcome(record)],
], { class: [outcomeOf(record) === 'denied' ? 'denied' : '', fresh ? 'fresh' : ''].join(' ').trim() || null });

// --- export ------------------------------------------------------------------------------------

const shut = (ends) => (event) => {
  if (ends(event)) event.currentTarget.open = false;
};

function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

async function exportAs(chosen, name, type, write) {
  const records = await fetchAll(filtersOf(chosen), EXPORT_MOST, (count) => say(`Fetching\u2026 ${count} records so far.`));
  if (records.length === 0) throw new Error('There is nothing to export under this filter. Choose a wider one.');
  download(name, type, write(records));
  say(records.length === EXPORT_MOST ? `The newest ${EXPORT_MOST} records are exported; choose a time to get the others.`
    : `${plural(records.length, 'record')} exported.`);
}

// --- the page ----------------------------------------------------------------------------------

/** SIGNAL is aborted when another page is shown. */
export async function activityPage(params, signal) {
  const chosen = chosenIn(params);
  const [{ agents }, first] = await Promise.all([get('/v1/account/agents'), fetchPage(filtersOf(chosen))]);
  const known = new Map(agents.map((agent) => [agent.id, agent.name]));
  let { records, next } = first;
  const drawn = el('div', {});
  const listed = el('div', { class: 'log' });
  const seen = new Set(records.map((record) => record.request));
  const isNew = (entry) => !seen.has(entry.request);
  const opened = () => new Set([...listed.querySelectorAll('details[open]')].map((node) => node.closest('tr').dataset.key));

  const draw = () => {
    const entries = folded(records);
    const open = opened();
    drawn.replaceChildren(chart(entries) ?? '');
    listed.replaceChildren(entries.length ? table('Records, newest first', COLUMNS,
      entries.map((entry) => {
        const node = line(entry, known, isNew(entry));
        node.dataset.key = entry.request ?? entry.seq;
        if (open.has(node.dataset.key)) node.querySelector('details').open = true;
        return node;
      })) : empty('Nothing here', NAMES.some((name) => chosen[name]) ? 'No record matches. Choose a wider filter.'
      : 'What your agents do is written here before it happens.'));
    entries.forEach((entry) => seen.add(entry.request));
  };

  const older = button('Show older', async () => {
    const page = await fetchPage(filtersOf(chosen), next);
    records = records.concat(page.records);
    ({ next } = page);
    folded(records).forEach((entry) => seen.add(entry.request));
    draw();
    older.hidden = next == null;
  });
  older.hidden = next == null;

  const refresh = async () => {
    const isFresh = newerThan(records);
    const fresh = [];
    let before;
    for (let i = 0; i < LIVE_PAGES; i++) {
      const page = await fetchPage(filtersOf(chosen), before);
      fresh.push(...page.records.filter(isFresh));
      before = page.next;
      if (before == null || !page.records.every(isFresh)) break;
    }
    if (fresh.length === 0 || signal.aborted) return;
    records = [...fresh, ...records];
    draw();
  };

  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    live.setAttribute('aria-pressed', 'false');
  };
  const live = el('button', { type: 'button', class: 'toggle', 'aria-pressed': 'false', onclick: () => {
    if (timer) return stop();
    live.setAttribute('aria-pressed', 'true');
    let busy = false;
    const tick = async () => {
      if (busy || document.hidden) return;
      busy = true;
      await refresh().catch((failure) => {
        stop();
        if (!signal.aborted) complain(failure);
      });
      busy = false;
    };
    timer = setInterval(tick, LIVE_MS);
    return tick();
  } }, el('span', { class: 'dot', 'aria-hidden': 'true' }), 'Live');
  signal.addEventListener('abort', stop);
  narrow.addEventListener('change', draw, { signal });

  draw();
  return { title: 'Activity', wide: true,
    lead: 'Every use of a key is written down before it happens, every refusal too.',
    actions: [live, el('details', { class: 'menu', onclick: shut((event) => event.target.tagName === 'BUTTON'),
      onkeydown: shut((event) => event.key === 'Escape') }, el('summary', { class: 'button' }, 'Export'), el('div', { class: 'menu-items' },
      button('JSON lines', () => exportAs(chosen, 'seks-audit.jsonl', 'application/jsonl', asJsonLines)),
      button('CSV', () => exportAs(chosen, 'seks-audit.csv', 'text/csv', asCsv))))],
    content: [filterBar(chosen, agents, known), drawn, listed, el('div', { class: 'actions' }, older)] };
}
