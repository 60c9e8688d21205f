// Ready-to-paste settings for a token, and the one harmless call that tries it.

import { el, newId } from './dom.js';
import { copyable, copyLine, field, input, tabs, act } from './ui.js';
import { titleOf } from './providers.js';

const REGION = 'us-east-1'; // stands in the rows of those that have regions

const filled = (text, token, region) => text.replaceAll('{base_url}', token.baseUrl)
  .replaceAll('{token}', token.value).replaceAll(REGION, region);

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

const variables = (token, region) => Object.entries(token.provider.env)
  .map(([name, text]) => [name, filled(text, token, region)]);

const lines = (tokens, region, before) => tokens.flatMap((token) => variables(token, region))
  .map(([name, value]) => `${before}${name}=${quoted(value)}`).join('\n');

const exportLines = (tokens, region = REGION) => lines(tokens, region, 'export ');
const dotenvLines = (tokens, region = REGION) => lines(tokens, region, '');

const plainCurl = 'curl "{base_url}/" \\\n  -H "Authorization: Bearer {token}"';

function itemsOf(token, region) {
  const { snippets } = token.provider;
  const texts = Object.keys(snippets).length ? snippets : { curl: plainCurl };
  return [
    ['Environment', () => copyable('environment variables', exportLines([token], region()))],
    ['.env', () => copyable('.env lines', dotenvLines([token], region()))],
    ...Object.entries(texts).map(([name, text]) =>
      [name, () => copyable(`${name} settings`, filled(text, token, region()))]),
  ];
}

/** TOKEN is {provider (a row), baseUrl, value}. */
export function settings(token) {
  const holder = el('div', {});
  const texts = JSON.stringify([token.provider.env, token.provider.snippets]);
  const region = input({ value: REGION, spellcheck: 'false', size: 14, maxlength: 32 });
  const draw = () => holder.replaceChildren(tabs(`Settings for ${titleOf(token.provider.name)}`,
    itemsOf(token, () => region.value.trim() || REGION)));
  region.addEventListener('change', draw);
  draw();
  return el('div', { class: 'settings' },
    texts.includes(REGION) ? field('Region', region, 'Where your buckets and services are.') : null, holder);
}

/** The variables of several tokens in one block. */
export const together = (tokens) => tabs('Settings for all of them', [
  ['Environment', () => copyable('environment variables', exportLines(tokens))],
  ['.env', () => copyable('.env lines', dotenvLines(tokens))],
]);

// --- the test call -----------------------------------------------------------------------------

const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

const OWN = {
  401: 'The broker does not take this token: it was renewed, deleted or has expired. Renew it and paste the new settings.',
  404: 'Add the missing key under Secrets, then test again.',
  429: 'Wait a moment, then test again.',
};
const THEIRS = {
  401: 'It does not take the stored key. Replace it under Secrets.',
  403: 'It knows the key, but does not permit this call with it.',
  429: 'It knows the key, but had too many calls or no quota left.',
};

function verdict(title, response, text, ms) {
  const { status } = response;
  const own = (response.headers.get('Content-Type') ?? '').startsWith('application/problem+json');
  if (response.ok) return `${title} answered ${status} in ${ms} ms. Token and key work.`;
  if (own) {
    let detail = '';
    try { ({ detail } = JSON.parse(text)); } catch { /* told without it */ }
    return `The broker refused with ${status}: ${detail}. ${OWN[status] ?? ''}`;
  }
  return `${title} answered ${status} in ${ms} ms. ${THEIRS[status] ?? ''}`;
}

async function call(token) {
  const path = new URL(token.baseUrl, location).pathname + (token.provider.test_path || '/');
  const begun = performance.now();
  let response;
  try {
    response = await fetch(path, { headers: { Authorization: `Bearer ${token.value}` },
      credentials: 'omit', cache: 'no-store', signal: AbortSignal.timeout(30000) });
  } catch (error) {
    throw new Error(error.name === 'TimeoutError' ? 'No answer within 30 seconds. Try again later.'
      : 'The broker does not answer. Check that it runs, then try again.');
  }
  const text = await response.text();
  return { response, text, ms: Math.round(performance.now() - begun) };
}

/** A button that makes the call with TOKEN and shows what came back. */
export function testIt(token) {
  const title = titleOf(token.provider.name);
  const result = el('div', { class: 'test-result', role: 'status' });
  const show = (good, text, body) => result.replaceChildren(
    el('p', { class: good ? 'verdict good' : 'verdict bad' }, text),
    body ? el('details', {}, el('summary', {}, 'What came back'),
      el('pre', { tabindex: 0, role: 'group', 'aria-label': 'Answer' }, pretty(body).slice(0, 4000))) : null);
  const hint = newId('test');
  return el('div', { class: 'test' },
    el('button', { type: 'button', 'aria-describedby': hint, onclick: act(async () => {
      result.replaceChildren(el('p', { class: 'muted' }, `Calling ${title}\u2026`));
      const { response, text, ms } = await call(token);
      show(response.ok, verdict(title, response, text, ms), text);
    }, (error) => show(false, error.message)) }, 'Test it'),
    el('p', { class: 'hint', id: hint }, 'One harmless call with this token: ',
      el('code', {}, `GET ${token.provider.test_path || '/'}`)), result);
}

/** What is shown once after making: the value and all that goes with it. */
export const revealed = (token) => el('div', { class: 'stack' },
  copyLine('Token', token.value), copyLine('Base URL', token.baseUrl), settings(token), testIt(token));
