// What a person does with the page, in Chromium, against the real broker: run by page_world.py.
// Each scenario prints a line of JSON: {"name", "ok", "error"?}; test_page.py has the list.
import { execFileSync, spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { withBrowser } from './page.mjs';

const { SEKS_URL: url, SEKS_PYTHON: python, SEKS_DATA: data } = process.env;
const keys = JSON.parse(process.env.SEKS_KEYS);
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PASSWORD = 'correct horse battery';
const EVIL = ['"><script>window.pwned=1</script>', '<img src=x onerror=window.pwned=1>', "'-window.pwned=1-'",
  '</code></pre><svg onload=window.pwned=1>', '{{constructor.constructor("window.pwned=1")()}}', '\u202e&lt;b&gt;${window.pwned=1}'];

const ensure = (good, text) => {
  if (!good) throw new Error(text);
};
let accounts = 0;

const button = (page, name) => page.getByRole('button', { name, exact: true });
const heading = (page, name) => page.getByRole('heading', { name, exact: true });
const go = async (page, name) => {
  await page.getByRole('navigation').getByRole('link', { name }).click();
  await heading(page, name).waitFor();
};

/** Signs a new account up; WORK is told what is wrong on the console by page.wrong. */
async function signUp(page) {
  const email = `person${++accounts}@example.com`;
  await page.goto(url);
  await page.getByRole('tab', { name: 'Sign up' }).click();
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await button(page, 'Sign up').click();
  await heading(page, 'Secrets').waitFor();
  return email;
}

/** A /v1 call with the page's own session, for what a scenario needs but is not about. */
const call = (page, method, path, body) => page.evaluate(async ([method, path, body]) => {
  const { csrf } = await (await fetch('/v1/account')).json();
  const answer = await fetch(path, { method, headers: { 'X-CSRF-Token': csrf }, body: body && JSON.stringify(body) });
  return { status: answer.status, ...await answer.json() };
}, [method, path, body]);

async function importEnv(page, text) {
  await button(page, 'Paste a .env file').click();
  await page.getByLabel('Lines of NAME=value').fill(text);
  await button(page, 'Store the keys').click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

async function makeAgent(page, name, ...titles) {
  await go(page, 'Agents');
  await button(page, 'Make an agent').first().click();
  await page.getByLabel('Name').fill(name);
  for (const title of titles) await page.getByLabel(title, { exact: true }).check();
  await button(page, 'Make agent').click();
  await heading(page, name).waitFor();
}

async function pasted(page, tab) {
  await page.getByRole('tab', { name: tab }).click();
  return page.locator('.once pre code').first().textContent();
}

const runPython = (code) => spawnSync(python, ['-c', code], { encoding: 'utf8', timeout: 60000 });
const doneSteps = (page) => page.locator('.steps li.done').count();

// --- scenarios ---------------------------------------------------------------------------------

async function story(page) {
  await signUp(page);
  ensure(await page.locator('.steps li').count() === 3 && await doneSteps(page) === 0, 'the three steps greet');
  await importEnv(page, `# keys\nexport OPENAI_API_KEY="${keys.openai}"\nGITHUB_TOKEN=${keys.github} # mine\nDEBUG=1\n`);
  await button(page, 'Replace GITHUB_TOKEN').waitFor();
  ensure(await doneSteps(page) === 1, 'the first step ticks itself off');
  ensure(!(await page.content()).includes(keys.openai), 'a stored value is not shown');
  await makeAgent(page, 'coder', 'OpenAI');
  const old = await pasted(page, 'Python');
  const ran = runPython(old);
  ensure(ran.stdout === 'Hello!\n', `the pasted snippet: ${ran.stderr}`);
  await button(page, 'Test it').click();
  await page.getByText(/^OpenAI answered 200/).waitFor();

  await go(page, 'Activity');
  const row = page.getByRole('row').filter({ hasText: 'POST /chat/completions' });
  await row.first().waitFor();
  ensure(/coder.*OpenAI.*200/s.test(await row.first().textContent()), 'the call is in the activity');
  ensure(await page.locator('figure.chart rect.bar-fine').count() > 0, 'the chart has it');
  ensure(await page.locator('.steps').count() === 0, 'the steps are done');

  await go(page, 'Agents');
  await page.getByRole('link', { name: 'coder' }).click();
  await page.getByRole('button', { name: /^Renew the OpenAI token/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Renew' }).click();
  const renewed = await pasted(page, 'Python');
  ensure(renewed !== old, 'the token is another');
  const dead = runPython(old);
  ensure(dead.status !== 0 && /401|AuthenticationError/.test(dead.stderr), 'the old token is dead');
  ensure(runPython(renewed).stdout === 'Hello!\n', 'the new token works');
  await page.getByRole('link', { name: 'Activity' }).last().click();
  const denied = page.locator('tr.denied').filter({ hasText: 'revoked token' });
  await denied.first().waitFor();
}

async function accessibility(page) {
  const seen = [];
  const look = async (name) => {
    for (const [colorScheme, width] of [['light', 1200], ['dark', 360]]) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: 800 });
      await page.waitForFunction(() => !document.querySelector('main[aria-busy]'));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) seen.push(`${name} ${width}: ${wide} px too wide`);
      if (!await page.evaluate(() => !!window.axe)) await page.evaluate(axeSource);
      const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
      seen.push(...violations.map((v) => `${name} ${colorScheme} ${width}: ${v.id} ${v.nodes.map((n) => n.html).join(' ').slice(0, 300)}`));
    }
  };
  const dialog = async (name, opener) => {
    await opener.click();
    await page.getByRole('dialog').waitFor();
    await look(name);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  };
  await page.goto(url);
  await page.getByRole('tab', { name: 'Sign up' }).waitFor();
  await look('welcome');
  await signUp(page);
  await look('secrets, first run');
  await importEnv(page, `OPENAI_API_KEY=${keys.openai}\nGITHUB_TOKEN=${keys.github}`);
  await look('secrets');
  await dialog('add', button(page, 'Add a key'));
  await dialog('delete', button(page, 'Delete OPENAI_API_KEY'));
  await button(page, 'Paste a .env file').click();
  await page.getByLabel('Lines of NAME=value').fill('OPENAI_API_KEY=sk-1\nDEBUG=1');
  await look('import');
  await page.keyboard.press('Escape');
  await makeAgent(page, 'coder', 'OpenAI', 'GitHub');
  await page.locator('.once summary').first().click();
  await button(page, 'Test it').first().click();
  await page.getByText(/^OpenAI answered 200/).waitFor();
  await look('agent with settings');
  await dialog('make token', button(page, 'Make a token'));
  await dialog('settings', page.getByRole('button', { name: /^Settings/ }).first());
  await page.reload();
  await dialog('settings without the value', page.getByRole('button', { name: /^Settings/ }).first());
  await page.getByLabel('Chosen secrets').check();
  await look('direct access');
  await go(page, 'Agents');
  await page.getByText('OpenAI').waitFor();
  await look('agents');
  await go(page, 'Activity');
  await page.locator('.log summary').first().click();
  await page.locator('.chart summary').click();
  await look('activity');
  await go(page, 'Account');
  await look('account');
  await page.evaluate(() => { location.hash = '#/agents/agt_none'; });
  await heading(page, 'Not found').waitFor();
  await look('not found');
  ensure(seen.length === 0, seen.join('\n'));
}

async function markup(page) {
  await signUp(page);
  const put = await call(page, 'PUT', '/v1/account/secrets/OTHER', { value: EVIL[0], provider: EVIL[1] });
  ensure(put.status === 201, 'a provider label is free text');
  for (const name of EVIL) {
    await makeAgent(page, name);
    await call(page, 'POST', '/v1/account/keys', { name });
  }
  await call(page, 'POST', '/v1/session', { email: EVIL[1], password: EVIL[0] });
  const told = async (name, all) => {
    await heading(page, name).waitFor();
    for (const text of all) await page.getByText(text).first().waitFor();
  };
  await go(page, 'Secrets');
  await told('Secrets', [EVIL[1]]);
  await button(page, 'Paste a .env file').click();
  await page.getByLabel('Lines of NAME=value').fill(`A_NAME=${EVIL[0]}\nOPENAI_API_KEY=${EVIL[1]}`);
  await button(page, 'Store the keys').click();
  await button(page, 'Replace OPENAI_API_KEY').waitFor();
  await go(page, 'Agents');
  await told('Agents', EVIL);
  await go(page, 'Activity');
  for (const text of EVIL) await page.getByRole('row').filter({ hasText: text }).first().waitFor();
  ensure((await page.getByLabel('Agent').locator('option').allTextContents()).includes(EVIL[0]), 'the filter lists the name');
  await go(page, 'Account');
  await told('Account', EVIL);
  for (const hash of ['#/agents/%22%3E%3Cscript%3Ewindow.pwned=1%3C/script%3E', '#/activity?agent=%22%3E%3Cimg%20src=x%20onerror=window.pwned=1%3E']) {
    await page.evaluate((to) => { location.hash = to; }, hash);
    await page.waitForFunction(() => !document.querySelector('main[aria-busy]'));
  }
  ensure(await page.evaluate(() => window.pwned) === undefined, 'nothing of it ran');
  ensure(await page.locator('main script, main img, main b').count() === 0, 'nothing of it became an element');
  ensure(await page.evaluate(() => {
    try {
      document.createElement('p').innerHTML = 'x';
      return false;
    } catch {
      return true;
    }
  }), 'and no text could, whatever the scripts did');
}

const vaultPid = () => Number(execFileSync('pgrep', ['-f', `seks-vault .*${data}`], { encoding: 'utf8' }).trim().split('\n')[0]);

async function failures(page, context) {
  const email = await signUp(page);
  await go(page, 'Account');
  await button(page, 'Log out').click();
  await page.getByText('You are logged out.').waitFor();
  await page.getByRole('tab', { name: 'Sign up' }).click();
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await button(page, 'Sign up').click();
  await page.getByRole('alert').getByText(/exists.*Log in instead/).waitFor();
  await page.getByRole('tab', { name: 'Log in' }).click();
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(PASSWORD);
  await button(page, 'Log in').click();
  await heading(page, 'Account').waitFor();
  await makeAgent(page, 'twin');
  await go(page, 'Agents');
  await button(page, 'Make an agent').click();
  await page.getByLabel('Name').fill('twin');
  await button(page, 'Make agent').click();
  const error = page.getByRole('dialog').getByRole('alert');
  await error.getByText(/exists.*Choose another name/).waitFor();
  await page.route('**/v1/account/agents', (route) => route.fulfill({ status: 429, headers: { 'Retry-After': '7' },
    json: { ok: false, error: 'too many' } }));
  await button(page, 'Make agent').click();
  await error.getByText(/too often.*Wait 7 seconds/).waitFor();
  await page.unroute('**/v1/account/agents');
  await page.keyboard.press('Escape');

  const pid = vaultPid();
  process.kill(pid, 'SIGSTOP');
  try {
    await page.getByRole('navigation').getByRole('link', { name: 'Secrets' }).click();
    await heading(page, 'Not loaded').waitFor();
    await page.getByText(/A part of the broker is away/).waitFor();
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await button(page, 'Try again').click();
  await heading(page, 'Secrets').waitFor();

  await context.setOffline(true);
  await page.getByRole('navigation').getByRole('link', { name: 'Activity' }).click();
  await page.getByText(/The broker does not answer/).waitFor();
  await context.setOffline(false);
  await button(page, 'Try again').click();
  await heading(page, 'Activity').waitFor();

  await context.clearCookies();
  await page.getByRole('navigation').getByRole('link', { name: 'Agents' }).click();
  await page.getByRole('alert').getByText(/session has ended.*Log in again/i).waitFor();
  await page.getByLabel('Email').fill(`person${accounts}@example.com`);
  await page.getByLabel('Password').fill('wrong password');
  await button(page, 'Log in').click();
  await page.getByText(/email or the password is wrong/).waitFor();
  const slow = page.getByText(/too often.*try again in \d+ s\.$/);
  for (let tries = 0; tries < 30 && await slow.count() === 0; tries++) {
    await Promise.all([page.waitForResponse('**/v1/session'), button(page, 'Log in').click()]);
  }
  await slow.waitFor();
  const seconds = Number(/again in (\d+) s/.exec(await slow.textContent())[1]);
  await page.waitForTimeout(seconds * 1000 + 500); // as it says
  await page.getByLabel('Password').fill(PASSWORD);
  await button(page, 'Log in').click();
  await heading(page, 'Agents').waitFor(); // where the session had ended
}

async function managing(page) {
  await signUp(page);
  await importEnv(page, `OPENAI_API_KEY=${keys.openai}\nGITHUB_TOKEN=${keys.github}`);
  await button(page, 'Replace OPENAI_API_KEY').click();
  await page.getByLabel('New value').fill(keys.openai);
  await button(page, 'Replace').click();
  await page.getByText('this is version 2').waitFor();
  await button(page, 'Add a key').click();
  await page.getByLabel('Provider', { exact: true }).selectOption({ label: 'AWS' });
  await page.getByLabel('AWS_ACCESS_KEY_ID').fill('AKIDEXAMPLE');
  await page.getByLabel('AWS_SECRET_ACCESS_KEY').fill('secret');
  await button(page, 'Store').click();
  await button(page, 'Replace AWS_SECRET_ACCESS_KEY').waitFor();
  await makeAgent(page, 'coder', 'OpenAI');
  await page.getByLabel('Chosen secrets').check();
  await page.locator('.access').getByLabel('GITHUB_TOKEN').check();
  await button(page, 'Save').click();
  await page.getByText('Direct access of coder: GITHUB_TOKEN.').waitFor();
  await button(page, 'Make a token').click();
  await page.getByLabel('Provider', { exact: true }).selectOption('aws');
  await page.getByLabel('Expires', { exact: true }).selectOption({ label: 'In a day' });
  await button(page, 'Make token').click();
  ensure(/endpoint_url = .*\/api\/aws\/s3\/us-east-1/.test(await pasted(page, 'AWS config')), 'the AWS settings');
  await button(page, 'Renew agent token').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Renew' }).click();
  await page.locator('.once').getByText(/^seks_agent_/).waitFor();
  await page.getByRole('button', { name: /^Delete the AWS token/ }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('The token is deleted.').waitFor();

  await go(page, 'Secrets');
  await button(page, 'Delete GITHUB_TOKEN').click();
  await page.getByText('1 agent uses it: coder.').waitFor();
  await page.keyboard.press('Escape');
  await button(page, 'Delete OPENAI_API_KEY').click();
  await page.getByText('1 agent uses it: coder.').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('OPENAI_API_KEY is deleted.').waitFor();

  await go(page, 'Activity');
  const file = async (kind) => {
    await page.locator('summary', { hasText: 'Export' }).click();
    const [saved] = await Promise.all([page.waitForEvent('download'), button(page, kind).click()]);
    await button(page, kind).waitFor({ state: 'hidden' });
    return readFileSync(await saved.path(), 'utf8');
  };
  const records = (await file('JSON lines')).trim().split('\n').map((text) => JSON.parse(text));
  ensure(records.some((record) => record.action === 'secret.delete' && record.reason === 'OPENAI_API_KEY'), 'the JSON lines');
  ensure((await file('CSV')).split('\r\n').length === records.length + 2, 'the CSV has a line for each and a heading');
  await page.getByLabel('Action').selectOption('token.create');
  await page.waitForFunction(() => document.querySelectorAll('.log tbody tr').length === 2);
  await page.getByLabel('Action').selectOption('');
  await button(page, 'Live').click();
  await page.waitForFunction(() => document.querySelectorAll('.log tbody tr').length > 2);
  await call(page, 'PUT', '/v1/account/secrets/LATER', { value: 'x' });
  await page.getByRole('row').filter({ hasText: 'LATER' }).waitFor(); // by the live mode
  await page.evaluate(async () => {
    const { csrf } = await (await fetch('/v1/account')).json();
    await Promise.all(Array.from({ length: 210 }, (_, i) => fetch('/v1/account/secrets/LATER',
      { method: 'PUT', headers: { 'X-CSRF-Token': csrf }, body: JSON.stringify({ value: `x${i}` }) })));
  });
  await page.waitForFunction(() => document.querySelectorAll('.log tbody tr').length > 210);
  await button(page, 'Live').click();
  await page.reload();
  await button(page, 'Show older').click();
  await page.getByRole('row').filter({ hasText: 'Signed up' }).waitFor(); // the first of all
  await button(page, 'Show older').waitFor({ state: 'hidden' });

  await go(page, 'Account');
  await page.getByLabel('Present password').fill('not this one');
  await page.getByLabel('New password').fill('another good password');
  await button(page, 'Change password').click();
  await page.getByText(/present password is wrong/).waitFor();
  await page.getByLabel('Present password').fill(PASSWORD);
  await button(page, 'Change password').click();
  await page.getByText('The password is changed.').waitFor();
  await button(page, 'Delete account').click();
  await page.getByRole('dialog').getByLabel('Password').fill('another good password');
  await button(page, 'Delete everything').click();
  await page.getByText('The account is deleted.').waitFor();
}

/** [lines, what is found in them] */
const BLOCKS = [
  ['A=1', { A: '1' }],
  ['export A=1\r\n  B = two words  \r\n', { A: '1', B: 'two words' }],
  ['# A=1\n\nB=2 # of these\nC=a#b', { B: '2', C: 'a#b' }],
  [`A="x # y" # z\nB='$HOME\\n'\nC="a\\"b"`, { A: 'x # y', B: '$HOME\\n', C: 'a"b' }],
  ['A=\nB=""\nC=a=b==', { C: 'a=b==' }],
  ['A=1\nA=2', { A: '2' }],
  ['1A=1\nA B=1\n=1\nhello', {}],
];

async function dotenv(page) {
  await page.goto(url);
  const found = await page.evaluate(async (texts) => {
    const { parseEnv } = await import('/assets/dotenv.js');
    return texts.map((text) => Object.fromEntries(parseEnv(text)));
  }, BLOCKS.map(([text]) => text));
  BLOCKS.forEach(([text, wanted], i) => ensure(JSON.stringify(found[i]) === JSON.stringify(wanted),
    `${JSON.stringify(text)}: ${JSON.stringify(found[i])}`));
}

async function keyboard(page) {
  const press = (...list) => list.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim());
  await page.goto(url);
  await page.getByRole('tab', { name: 'Sign up' }).waitFor();
  await press('Tab', 'Enter'); // past the head by the skip link
  await press('Tab');
  if (await focused() !== 'Sign up') await press('ArrowRight');
  ensure(await focused() === 'Sign up', `the tabs take arrows: ${await focused()}`);
  await press('Tab');
  await page.keyboard.type('keys@example.com');
  await press('Tab');
  await page.keyboard.type(PASSWORD);
  await press('Enter');
  await heading(page, 'Secrets').waitFor();
  const add = button(page, 'Add a key');
  await add.focus();
  await press('Enter');
  await page.getByRole('dialog').waitFor();
  for (let i = 0; i < 12; i++) await press('Tab');
  ensure(await page.evaluate(() => document.activeElement === document.body || !!document.activeElement.closest('dialog')), 'the focus stays in the dialog');
  await press('Escape');
  ensure(await focused() === 'Add a key', `the focus comes back: ${await focused()}`);
  await page.getByRole('navigation').getByRole('link', { name: 'Agents' }).focus();
  await press('Enter');
  await heading(page, 'Agents').waitFor();
  await page.waitForFunction(() => document.activeElement.tagName === 'H1');
}

// --- running -----------------------------------------------------------------------------------

const EXPECTED = /status of (40[0-9]|429|50[0-9])|ERR_INTERNET_DISCONNECTED|requires 'TrustedHTML'/;
const scenarios = { story, accessibility, markup, failures, managing, keyboard, dotenv };
const only = process.argv.slice(2);

await withBrowser(async (context) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']).catch(() => {});
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (only.length && !only.includes(name)) continue;
    const page = await context.newPage();
    const wrong = [];
    page.on('pageerror', (error) => wrong.push(String(error)));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type()) && !EXPECTED.test(message.text())) wrong.push(message.text());
    });
    let error;
    try {
      await scenario(page, context);
      ensure(wrong.length === 0, `on the console: ${wrong.join('\n')}`);
    } catch (failure) {
      error = `${failure.stack ?? failure}\non the console: ${wrong.join('\n')}`;
    }
    console.log(JSON.stringify({ name, ok: !error, error }));
    await page.close();
    await context.clearCookies();
  }
}, { viewport: { width: 1200, height: 800 } });
