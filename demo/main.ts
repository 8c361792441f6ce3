#!/usr/bin/env node
import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createNarrator, type Narrator } from './narrator.js';
import { removeNetworksOf } from './own-networks.js';
import { endProcessesOn, processesOn } from './own-processes.js';
import { prepareState, statePlace } from './state-place.js';
import { createTour, type Tour } from './tour.js';

const help = `npm run demo [-- OPTIONS]: one control plane, three sites, one real guest that moves between them

  --exit          end after the tour and leave nothing running
  --report FILE   write what was measured as JSON
  --help
`;

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const interrupted = 130;

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { exit: { type: 'boolean' }, report: { type: 'string' }, help: { type: 'boolean' } } });
  if (values.help === true) {
    process.stdout.write(help);
    return 0;
  }
  const uid = process.getuid?.() ?? 0;
  const narrator = createNarrator(process.stdout);
  const state = statePlace(root, uid);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());

  const { leftovers } = await prepareState(state, uid);
  if (leftovers > 0) narrator.note(`ended ${leftovers} programs that an earlier demo left running`);
  const tour = createTour({ root, state, asRoot: uid === 0, narrator, signal: stop.signal });
  let code = await walk(tour, narrator, state, stop.signal);
  if (values.report !== undefined) writeFileSync(resolve(values.report), `${JSON.stringify(tour.report, null, 2)}\n`);
  if (code === 0 && values.exit !== true) {
    invite(tour, narrator);
    await new Promise<void>((done) => {
      stop.signal.addEventListener('abort', () => done());
      if (stop.signal.aborted) done();
    });
  }
  if (!(await tidy(tour, narrator, state)) && code === 0) code = 1;
  if (code === 0) rmSync(state, { recursive: true, force: true });
  return code;
}

async function walk(tour: Tour, narrator: Narrator, state: string, signal: AbortSignal): Promise<number> {
  try {
    await tour.walk();
    return 0;
  } catch (error) {
    if (signal.aborted) {
      narrator.note(`interrupted: ${narrator.step}`);
      return interrupted;
    }
    const message = error instanceof Error ? error.message : String(error);
    narrator.title(`✗ the demo failed at: ${narrator.step}\n  ${message}\n  logs: ${join(state, 'logs')}/*.log`);
    return 1;
  }
}

/** Leaves nothing behind, and says what it had to end by force. */
async function tidy(tour: Tour, narrator: Narrator, state: string): Promise<boolean> {
  const failedAt = narrator.step;
  narrator.begin('delete the guest and stop everything');
  let clean = true;
  try {
    await tour.end();
  } catch (error) {
    clean = false;
    narrator.note(`after "${failedAt}" the guest could not be deleted in order: ${error instanceof Error ? error.message : String(error)}`);
  }
  const orphans = processesOn(state);
  if (orphans.length > 0) {
    clean = false;
    narrator.note(`left running and ended now: ${[...new Set(orphans.map(({ program }) => program))].join(', ')}`);
    await endProcessesOn(state);
    removeNetworksOf(state);
  }
  if (clean) narrator.done('what was made is deleted and everything is stopped: no guest, bridge or process is left');
  return clean;
}

function invite(tour: Tour, narrator: Narrator): void {
  const cli = `node ${join(root, 'packages/cli/dist/main.js')}`;
  narrator.title('It runs on. In another terminal:');
  narrator.note(`alias virt8ra="${cli}"`);
  narrator.note(`virt8ra login --server ${tour.access?.url} --token-file ${tour.access?.tokenFile} --tenant default --workspace tour`);
  narrator.note('virt8ra sites; virt8ra get instances; virt8ra migrate web --to edge-gdansk --mode warm; virt8ra events');
  narrator.note(`the API describes itself at ${tour.access?.url}/openapi.json`);
  narrator.note('Ctrl-C here ends and removes everything');
}

process.exitCode = await main();
// Sockets that peers keep open must not hold the end up.
process.exit();
