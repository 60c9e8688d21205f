// The official npm SDKs, unmodified.  Reads {url, tokens} on standard input, prints one JSON object
// with what each call gave; a call that failed gives {error, status, name}.
import OpenAI, { toFile } from 'openai';
import Anthropic1 from '@anthropic-ai/sdk';
import Anthropic0 from 'anthropic-sdk-0x';
import { Octokit } from '@octokit/rest';
import { GoogleGenAI } from '@google/genai';
import { readFileSync } from 'node:fs';

globalThis.File ??= (await import('node:buffer')).File; // Node 18 has it, but not as a global

const { url, tokens } = JSON.parse(readFileSync(0, 'utf8'));
const messages = [{ role: 'user', content: 'Hello' }];
const results = {};
async function step(name, run) {
  try {
    results[name] = await run();
  } catch (error) {
    results[name] = { error: error.message, status: error.status, name: error.constructor.name };
  }
}

const openai = new OpenAI({ apiKey: tokens.openai, baseURL: `${url}/api/openai`, maxRetries: 0 });
await step('openai', async () => (await openai.chat.completions.create({ model: 'm', messages })).choices[0].message.content);
await step('openai_stream', async () => {
  let text = '';
  for await (const chunk of await openai.chat.completions.create({ model: 'm', messages, stream: true })) text += chunk.choices[0].delta.content;
  return text;
});
await step('openai_tools', async () => (await openai.chat.completions.create({ model: 'm', messages, tools: [{ type: 'function', function: { name: 'weather' } }] })).choices[0].message.tool_calls[0].function.name);
await step('openai_file', async () => (await openai.files.create({ file: await toFile(Buffer.alloc(100000, 'x'), 'a.jsonl'), purpose: 'batch' })).id);
await step('openai_error', () => openai.chat.completions.create({ model: 'broken', messages }));

for (const [name, Anthropic] of [['anthropic0', Anthropic0], ['anthropic1', Anthropic1]]) {
  const client = new Anthropic({ apiKey: tokens.anthropic, baseURL: `${url}/api/anthropic`, maxRetries: 0 });
  await step(name, async () => (await client.messages.create({ model: 'm', max_tokens: 9, messages })).content[0].text);
  await step(`${name}_stream`, async () => (await client.messages.stream({ model: 'm', max_tokens: 9, messages }).finalMessage()).content[0].text);
  await step(`${name}_error`, () => client.messages.create({ model: 'broken', max_tokens: 9, messages }));
}

const octokit = new Octokit({ auth: tokens.github, baseUrl: `${url}/api/github`, log: { debug() {}, info() {}, warn() {}, error() {} } });
await step('octokit', async () => (await octokit.rest.users.getAuthenticated()).data.login);
await step('octokit_pages', async () => (await octokit.paginate(octokit.rest.issues.listForRepo, { owner: 'o', repo: 'r' })).map((i) => i.number));
await step('octokit_graphql', async () => (await octokit.graphql('{viewer{login}}')).viewer.login);
await step('octokit_error', () => octokit.rest.repos.get({ owner: 'o', repo: 'none' }));

const gemini = new GoogleGenAI({ apiKey: tokens.gemini, httpOptions: { baseUrl: `${url}/api/gemini` } });
await step('gemini', async () => (await gemini.models.generateContent({ model: 'm', contents: 'Hello' })).text);
await step('gemini_stream', async () => {
  let text = '';
  for await (const chunk of await gemini.models.generateContentStream({ model: 'm', contents: 'Hello' })) text += chunk.text;
  return text;
});
await step('gemini_upload', async () => (await gemini.files.upload({ file: new Blob(['y'.repeat(5000)]), config: { mimeType: 'text/plain' } })).name);
await step('gemini_error', () => gemini.models.generateContent({ model: 'broken', contents: 'Hello' }));
console.log(JSON.stringify(results));
