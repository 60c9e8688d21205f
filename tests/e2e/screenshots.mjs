// Pictures of each page, light and dark, wide and narrow, into docs/screenshots:
//     tests/e2e/.venv/bin/python tests/e2e/page_world.py node screenshots.mjs
// Needs pngquant. A busy minute of calls is made first, so that the activity has something to show.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { withBrowser } from './page.mjs';

const url = process.env.SEKS_URL;
const keys = JSON.parse(process.env.SEKS_KEYS);
const folder = new URL('../../docs/screenshots/', import.meta.url).pathname;
const VIEWS = [['light', 1200, 820], ['dark', 1200, 820], ['light', 360, 740], ['dark', 360, 740]];
const BUSY_SECONDS = 46;
const PASSWORD = 'correct horse battery';

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const button = (page, name) => page.getByRole('button', { name, exact: true });
const heading = (page, name) => page.getByRole('heading', { name, exact: true });

async function shoot(page, name) {
  for (const [colorScheme, width, height] of VIEWS) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
    await page.setViewportSize({ width, height });
    await page.waitForFunction(() => !document.querySelector('main[aria-busy]'));
    await page.evaluate(() => document.activeElement?.blur());
    await page.screenshot({ path: `${folder}${name}-${width > 600 ? 'wide' : 'narrow'}-${colorScheme}.png` });
  }
  await page.setViewportSize({ width: 1200, height: 820 });
}

const call = (page, method, path, body) => page.evaluate(async ([method, path, body]) => {
  const { csrf } = await (await fetch('/v1/account')).json();
  return (await fetch(path, { method, headers: { 'X-CSRF-Token': csrf }, body: body && JSON.stringify(body) })).json();
}, [method, path, body]);

async function agent(page, name, ...providers) {
  const { agent: { id } } = await call(page, 'POST', '/v1/account/agents', { name });
  const tokens = {};
  for (const provider of providers) {
    tokens[provider] = (await call(page, 'POST', `/v1/account/agents/${id}/tokens`, { provider, expires_in: 2592000 })).value;
  }
  return { id, tokens };
}

const chat = (model) => ({ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ model, max_tokens: 64,
  messages: [{ role: 'user', content: 'Hello' }] }) });

/** Calls as three agents might make them; what the numbers choose is the same at every run. */
async function busy(coder, researcher, release) {
  const CALLS = [
    [coder.tokens.openai, '/api/openai/chat/completions', chat('gpt-4o-mini')],
    [researcher.tokens.anthropic, '/api/anthropic/v1/messages', chat('claude-sonnet-4-5')],
    [coder.tokens.openai, '/api/openai/chat/completions', chat('gpt-4o-mini')],
    [researcher.tokens.brave, '/api/brave/web/search?q=credential+brokers'],
    [release.tokens.github, '/api/github/repos/o/r/issues'],
    [coder.tokens.openai, '/api/openai/v1/models'],
    [researcher.tokens.anthropic, '/api/anthropic/v1/messages', chat('claude-sonnet-4-5')],
    [coder.tokens.openai, '/api/openai/chat/completions', chat('broken')],
    [release.tokens.github, '/api/github/user'],
  ];
  let seed = 7;
  const next = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
  const send = async ([token, path, options]) => (await fetch(url + path, { ...options,
    headers: { ...options?.headers, Authorization: `Bearer ${token}` } })).arrayBuffer();
  for (let second = 0; second < BUSY_SECONDS; second++) {
    const count = Math.floor(next() * 4 * (1 + Math.sin(second / 7)));
    for (let i = 0; i < count; i++) await send(CALLS[Math.floor(next() * CALLS.length)]);
    await pause(900);
  }
  await send([release.tokens.github, '/api/github/repos/o/r/keys', { method: 'POST' }]);
  await send([coder.tokens.openai, '/api/anthropic/v1/messages', chat('claude-sonnet-4-5')]);
  await send(CALLS[0]);
  await send(CALLS[1]);
}

async function pictures(page) {
  await page.goto(url);
  await page.getByRole('tab', { name: 'Sign up' }).click();
  await shoot(page, 'welcome');
  await page.getByLabel('Email').fill('ada@example.com');
  await page.getByLabel('Password').fill(PASSWORD);
  await button(page, 'Sign up').click();
  await heading(page, 'Secrets').waitFor();
  await shoot(page, 'first-run');
  await button(page, 'Paste a .env file').click();
  await page.getByLabel('Lines of NAME=value').fill(`# app settings\nDEBUG=1\nOPENAI_API_KEY=sk-proj-example\nexport ANTHROPIC_API_KEY="sk-ant-example"\nGITHUB_TOKEN=ghp_example\nBRAVE_SEARCH_API_KEY=BSAexample`);
  await page.getByText('Left out').waitFor();
  await shoot(page, 'import');
  await page.getByLabel('Lines of NAME=value').fill(`OPENAI_API_KEY=${keys.openai}\nANTHROPIC_API_KEY=${keys.anthropic}\nGITHUB_TOKEN=${keys.github}\nBRAVE_API_KEY=${keys.brave}`);
  await button(page, 'Store the keys').click();
  await button(page, 'Replace OPENAI_API_KEY').waitFor();
  const researcher = await agent(page, 'researcher', 'anthropic', 'brave');
  const release = await agent(page, 'release bot', 'github');
  await call(page, 'PATCH', `/v1/account/agents/${release.id}`, { direct_access: ['GITHUB_TOKEN'] });
  const coder = await agent(page, 'coder', 'openai');
  await busy(coder, researcher, release);
  await pause(6000); // times of last use are written every few seconds
  await page.reload();
  await button(page, 'Replace OPENAI_API_KEY').waitFor();
  await shoot(page, 'secrets');
  await page.getByRole('navigation').getByRole('link', { name: 'Activity' }).click();
  await heading(page, 'Activity').waitFor();
  await shoot(page, 'activity');
  await page.getByRole('navigation').getByRole('link', { name: 'Agents' }).click();
  await page.locator('.marks').getByText('Brave Search').waitFor();
  await shoot(page, 'agents');
  await page.getByRole('link', { name: 'coder' }).click();
  await heading(page, 'coder').waitFor();
  await shoot(page, 'agent');
  await page.getByRole('button', { name: /^Renew the OpenAI token/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Renew' }).click();
  await page.getByRole('tab', { name: 'Python' }).click();
  await button(page, 'Test it').click();
  await page.getByText(/^OpenAI answered 200/).waitFor();
  await page.evaluate(() => scrollTo(0, 0));
  await shoot(page, 'settings');
  await page.getByRole('navigation').getByRole('link', { name: 'Account' }).click();
  await heading(page, 'Account').waitFor();
  await shoot(page, 'account');
}

mkdirSync(folder, { recursive: true });
await withBrowser(async (context) => pictures(await context.newPage()), { viewport: { width: 1200, height: 820 } });
const files = readdirSync(folder).filter((name) => name.endsWith('.png')).map((name) => folder + name);
execFileSync('pngquant', ['--force', '--skip-if-larger', '--strip', '--speed', '1', '--ext', '.png', '64', ...files], { stdio: 'inherit' });
console.log(`${files.length} pictures, ${Math.round(files.reduce((sum, file) => sum + statSync(file).size, 0) / 1024)} KiB`);
