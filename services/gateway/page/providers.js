// The table of providers as GET /v1/providers tells it. No provider is named in this page's code.

import { get } from './api.js';
import { el } from './dom.js';

let rows = [];

export async function loadProviders() {
  rows = (await get('/v1/providers')).providers;
}

export const providers = () => rows;
export const providerNamed = (name) =>
  rows.find((row) => row.name === name || row.aliases.includes(name));
export const titleOf = (name) => providerNamed(name)?.title ?? name ?? '';

/** The provider one of whose secrets is called NAME. */
export const providerOfSecret = (name) =>
  rows.find((row) => row.secrets.includes(name) || row.optional_secrets.includes(name));

/** Under which name a variable of a .env block is stored: its own, or that of the secret which the
 * provider's tools also know by it. Null when no provider knows it. */
export function secretFor(variable) {
  if (providerOfSecret(variable)) return variable;
  const row = rows.find((candidate) => candidate.env[variable] === '{token}');
  return row?.secrets[0] ?? null;
}

/** Whether all that PROVIDER needs is among the names STORED. */
export const hasKey = (provider, stored) => provider.secrets.every((name) => stored.has(name));

/** A small mark: the first letters of the name. */
export const mark = (name) => el('span', { class: 'mark', 'aria-hidden': 'true' },
  titleOf(name).replace(/[^A-Za-z0-9]/g, '').slice(0, 2) || '\u00b7');

export const providerLabel = (name) => (name
  ? el('span', { class: 'provider' }, mark(name), el('span', {}, titleOf(name)))
  : el('span', { class: 'muted' }, '\u2013'));
