// The /v1 calls, and in what words their failures are told: what happened, and what to do.

export const session = { account: null, csrf: null, ended: () => {} };

export class Failure extends Error {
  constructor(status, what, next = '', request = '') {
    super(next ? `${what} ${next}` : what);
    Object.assign(this, { status, what, next, request });
  }
}

export const segment = encodeURIComponent;

const sentence = (text) => {
  const trimmed = String(text ?? '').trim();
  if (!trimmed) return '';
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? '' : '.');
};

const AWAY = 'A part of the broker is away or starting.';
const WHAT = { 429: 'That was too often.', 502: AWAY, 503: AWAY, 504: AWAY };

const signingUp = (method, path) => method === 'POST' && path === '/v1/account';

/** What to do about STATUS, in a sentence. */
function advice(status, told, method, path, response) {
  const seconds = Number(response.headers.get('Retry-After'));
  const wait = seconds > 1 ? `Wait ${seconds} seconds, then try again.` : 'Wait a moment, then try again.';
  switch (status) {
    case 403: return signingUp(method, path) ? 'Ask whoever runs it for an account.'
      : 'If you logged in anew in another tab, reload this page.';
    case 404: return 'It may have been deleted in the meantime. Reload this page.';
    case 409: return signingUp(method, path) ? 'Log in instead, or use another email.'
      : 'Choose another name, or delete what is no longer needed.';
    case 413: return 'Send less at once.';
    case 429: return / again in /.test(told) ? '' : wait;
    case 502: case 503: case 504: return method === 'GET' ? wait
      : `${wait} Reload first: the change may have been made all the same.`;
    default: return status >= 500
      ? `If it happens again, tell your operator the request id ${response.headers.get('Seks-Request-Id')}.` : '';
  }
}

const PATIENCE_MS = 30000; // the gateway itself gives up on the vault after 5 s

async function send(method, path, body) {
  const headers = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (session.csrf && method !== 'GET') headers['X-CSRF-Token'] = session.csrf;
  try {
    return await fetch(path, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new Failure(0, 'The broker does not answer.',
      'Check that it runs and that your network is up, then try again.');
  }
}

/** The answer's JSON; throws a Failure. A session that has ended is told to session.ended() too. */
export async function api(method, path, body) {
  const response = await send(method, path, body);
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const { status } = response;
  const aboutPassword = /password is wrong/.test(answer?.error);
  if (status === 401 && session.account && !aboutPassword) {
    const failure = new Failure(401, 'Your session has ended.', 'Log in again to go on where you were.');
    session.account = session.csrf = null;
    session.ended(failure);
    throw failure;
  }
  const told = sentence(answer?.error);
  throw new Failure(status, [WHAT[status], told].filter(Boolean).join(' ') ||
    `The broker answered ${status} with something that is not its own.`, advice(status, told, method, path, response),
  response.headers.get('Seks-Request-Id'));
}

export const get = (path) => api('GET', path);

/** WORK for each item, at most LIMIT at once. */
export async function each(items, work, limit = 6) {
  const queue = [...items.entries()];
  const results = [];
  await Promise.all(Array.from({ length: limit }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) results[next[0]] = await work(next[1]);
  }));
  return results;
}
