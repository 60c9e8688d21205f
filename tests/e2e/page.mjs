// Chromium for the page's tests and screenshots: Debian's own, without a word to anybody outside.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Runs WORK with a browser context of its own profile; everything is gone afterwards. */
export async function withBrowser(work, options = {}) {
  const profile = await mkdtemp(join(tmpdir(), 'seks-browser-'));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: '/usr/bin/chromium', args: FLAGS, ...options });
  try {
    context.setDefaultTimeout(60000); // the machine may be busy
    return await work(context);
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
}
