// Audit records: fetched page by page, folded to one line for each request, put in words.

import { get } from './api.js';

const PAGE = 200;

const query = (filters, more) => new URLSearchParams(
  Object.entries({ ...filters, ...more }).filter(([, value]) => value != null && value !== ''));

/** One page that is not empty, or the last: {records, next}. */
export async function fetchPage(filters, before, limit = PAGE) {
  let next = before;
  for (;;) {
    const answer = await get(`/v1/account/audit?${query(filters, { limit, before: next })}`);
    next = answer.next;
    if (answer.records.length || next == null) return { records: answer.records, next };
  }
}

/** Every record, to at most MOST; TOLD hears how many there are so far. */
export async function fetchAll(filters, most, told) {
  const all = [];
  for (let next; next !== null && all.length < most; told(all.length)) {
    const page = await fetchPage(filters, next, 1000);
    all.push(...page.records);
    ({ next } = page);
  }
  return all.slice(0, most);
}

/** Whether a record came after RECORDS; each log has own numbers. */
export function newerThan(records) {
  const seen = {};
  for (const { log, seq } of records) seen[log] ??= seq;
  return ({ log, seq, time }) => (log in seen ? seq > seen[log] : time > (records[0]?.time ?? ''));
}

/** One entry for each request: its outcome where there is one, else its intent. */
export function folded(records) {
  const byRequest = new Map();
  for (const record of records) {
    const key = record.request ?? `${record.log} ${record.seq}`;
    if ((byRequest.get(key)?.kind ?? 'intent') === 'intent') byRequest.set(key, record);
  }
  return [...byRequest.values()];
}

/** 'denied', 'failed', 'open' (no outcome yet) or 'fine'. */
export function outcomeOf(record) {
  if (record.kind === 'denied' || record.decision === 'deny') return 'denied';
  if (record.kind === 'intent') return 'open';
  if (record.action === 'call' && !(record.status >= 200 && record.status < 400)) return 'failed';
  return 'fine';
}

const LATE_MS = 15 * 60 * 1000;
export function resultText(record) {
  const outcome = outcomeOf(record);
  if (outcome === 'open') return Date.now() - new Date(record.time) > LATE_MS ? 'unknown' : 'running';
  if (outcome === 'denied') return 'denied';
  if (record.status != null) return String(record.status);
  return outcome === 'failed' ? record.reason ?? 'failed' : 'done';
}

export const ACTIONS = {
  call: 'Call to a provider',
  'secret.get': 'Secret read by an agent',
  'secret.put': 'Secret stored',
  'secret.delete': 'Secret deleted',
  'agent.create': 'Agent made',
  'agent.change': 'Agent changed',
  'agent.delete': 'Agent deleted',
  'agent.token': 'Agent token renewed',
  'token.create': 'Token made',
  'token.renew': 'Token renewed',
  'token.delete': 'Token deleted',
  'session.create': 'Logged in',
  'session.delete': 'Logged out',
  'account.create': 'Signed up',
  'account.password': 'Password changed',
  'account.delete': 'Account deleted',
  'key.create': 'Account key made',
  'key.delete': 'Account key deleted',
};

export const actionText = (action) => ACTIONS[action] ?? action;

// --- export ------------------------------------------------------------------------------------

const COLUMNS = ['seq', 'time', 'kind', 'action', 'request', 'tenant', 'agent', 'token', 'provider', 'method', 'path',
  'decision', 'reason', 'status', 'bytes_in', 'bytes_out', 'duration_ms', 'client', 'prev', 'hash'];

// A cell that begins like a formula is kept from being one.
const cell = (value) => `"${String(value ?? '').replace(/^[=+\-@\t\r]/, "'$&").replaceAll('"', '""')}"`;

export const asCsv = (records) => [COLUMNS, ...records.map((record) => COLUMNS.map((name) => record[name]))]
  .map((cells) => `${cells.map(cell).join(',')}\r\n`).join('');

export const asJsonLines = (records) => records.map((record) => `${JSON.stringify(record)}\n`).join('');
