import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient } from '@virt8ra/client';
import { instance, transferChunkBytes, transferStreams } from '@virt8ra/contract';
import { type AskingClient, startAsking } from './asking-client.js';
import { fullDisk, guestDisk, importImage } from './images.js';
import { openLongAnswer } from './long-answer.js';
import type { LongProcess } from './long-process.js';
import { type MoveSighting, moveGuest, tellMove } from './move-guest.js';
import { type Narrator, sizeText, spanText } from './narrator.js';
import { namespacesOf } from './own-networks.js';
import { residentMiB } from './own-processes.js';
import { choosePorts, type Ports, startControlPlane, startHostAgent } from './programs.js';
import { emptyReport, type Report } from './report.js';
import { returnGuest } from './return-guest.js';
import { settled } from './settled.js';
import {
  deleteGuest,
  describeGuest,
  describeSites,
  guest,
  guestUrl,
  images,
  makeWorkspace,
  pageInNetwork,
  sites,
  sitesAreReady,
  tenant,
} from './world.js';
import { writtenByGuest } from './written-by-guest.js';

/** Of the data disk: enough that a copy can be interrupted. */
const dataBytes = 256 * 1024 * 1024;

export interface TourOptions {
  readonly root: string;
  readonly state: string;
  readonly asRoot: boolean;
  readonly narrator: Narrator;
  readonly signal: AbortSignal;
}

export interface Tour {
  readonly report: Report;
  /** The whole way; raises at the first thing that is not as promised. */
  walk(): Promise<void>;
  /** Deletes the guest through the API and stops every program, however far the walk came. */
  end(): Promise<void>;
  /** Where the API is and who may use it. */
  readonly access: { readonly url: string; readonly tokenFile: string } | undefined;
}

export function createTour({ root, state, asRoot, narrator, signal }: TourOptions): Tour {
  const report = emptyReport();
  const agents = new Map<string, LongProcess>();
  let server: LongProcess | undefined;
  let ports: Ports | undefined;
  let api: Client | undefined;
  let tidying: Client | undefined;
  let asking: AskingClient | undefined;
  let access: Tour['access'];

  const keep = (process: LongProcess) => {
    server = process;
  };

  async function walk(): Promise<void> {
    mkdirSync(join(state, 'logs'), { recursive: true });
    narrator.title('One control plane, three sites');
    narrator.begin('start the control plane');
    ports = await choosePorts();
    const plane = await startControlPlane(root, state, ports, keep);
    const { url, token } = plane;
    access = { url, tokenFile: join(state, 'server', 'admin-token') };
    report.readySeconds = rounded(plane.readySeconds);
    narrator.done(`control plane ready at ${url} after ${spanText(plane.readySeconds * 1000)}, with a PostgreSQL of its own`);
    const client = createClient({ server: url, token, awaitServer: true, patienceSeconds: 60, signal });
    api = client;
    // Without the signal: what was made is deleted after an interrupt too.
    tidying = createClient({ server: url, token, patienceSeconds: 20 });

    narrator.begin('describe three sites and enrol their hosts');
    await describeSites(client);
    for (const { name, host } of sites) {
      agents.set(name, startHostAgent(root, state, await client.enrol(host), asRoot ? 'bridge' : 'user'));
    }
    await sitesAreReady(client, { signal });
    report.sites = sites.map(({ name }) => name);
    narrator.done(`three hosts enrolled and linked: ${report.sites.join(', ')}`);

    narrator.title('A real guest, written once');
    narrator.begin('import two disks');
    const [system, data] = await Promise.all([guestDisk(root), fullDisk(dataBytes)]);
    await Promise.all([
      importImage(client, tenant, images.system, system, { signal }),
      importImage(client, tenant, images.data, data, { signal }),
    ]);
    narrator.done(`images imported and checked: system ${sizeText(system.sizeBytes)}, data ${sizeText(data.sizeBytes)}`);

    narrator.begin('boot the guest');
    await makeWorkspace(client, { signal });
    const begin = performance.now();
    await describeGuest(client);
    const address = await guestUrl(client, { signal, withinSeconds: 120 });
    const running = await settled(client, instance, guest, ({ status }) => status?.activity?.value === 'running', {
      signal,
      withinSeconds: 120,
      what: 'the guest runs',
    });
    asking = startAsking(address);
    const first = await asking.next(begin, 180, signal);
    const accelerator = running.status?.accelerator ?? null;
    report.guest = { bootSeconds: rounded((first.at - begin) / 1000), bootId: first.bootId, accelerator };
    const home = running.status?.placement?.site ?? '';
    narrator.done(`the guest answers at ${address} after ${spanText(first.at - begin)} (${accelerator ?? 'accelerator unknown'})`);
    narrator.note(`zone "any" became ${home}: ${running.status?.placement?.reason ?? 'no reason given'}`);
    narrator.note(`boot id ${first.bootId}; a client asks that one address from now on`);

    const ring = [home, ...report.sites.filter((name) => name !== home), home];
    narrator.title('The same guest, moved while the client keeps asking');
    await moveAndReturn(home, ring[1] ?? '');
    await move('second-move', 'cold', [home, ring[2] ?? ''], 0);

    narrator.title('The server is killed with -9 while a disk is copied');
    await moveThroughKill(ring);

    narrator.title('The same guest, moved live: its memory goes along');
    await moveLive(home, ring[1] ?? '');

    narrator.begin('check what the client saw');
    if (asking.stepsBack > 0) throw new Error(`the counter or the boots went back ${asking.stepsBack} times`);
    narrator.done(`${asking.answers.length} answers at one address; the counter, synced to disk each second, never went back`);
    measure();
  }

  async function move(
    name: string,
    mode: 'live' | 'warm' | 'cold',
    ring: readonly string[],
    at: number,
    onSighting?: (sighting: MoveSighting) => Promise<void>,
    keepHours?: number,
  ) {
    const [from = '', to = ''] = ring.slice(at);
    narrator.begin(`${mode} move ${from} → ${to}`);
    if (asking === undefined || api === undefined) throw new Error('there is no guest to move');
    const order = { name, mode, guest, from, to, withinSeconds: 240, ...(keepHours === undefined ? {} : { keepHours }) };
    const done = await moveGuest(order, { client: api, asking, narrator, signal }, onSighting);
    const { resource, resentBytes, ...told } = done;
    if (mode !== 'live') report.moves.push(told);
    tellMove(narrator, done);
    if (!done.digestEqual) throw new Error('the disks at both sites differ');
    return done;
  }

  /** There with a way back, and back by it. */
  async function moveAndReturn(from: string, to: string): Promise<void> {
    await move('first-move', 'warm', [from, to], 0, undefined, 1);
    narrator.begin(`return ${to} → ${from}`);
    if (asking === undefined || api === undefined) throw new Error('there is no guest to return');
    const order = { name: 'first-move', mode: 'warm', guest, from, to, withinSeconds: 240 } as const;
    const done = await returnGuest(order, { client: api, asking, narrator, signal });
    report.moves.push(done);
    if (!done.digestEqual) throw new Error('the disks at both sites differ');
  }

  async function moveLive(from: string, to: string): Promise<void> {
    const connection = asRoot ? await connectInNetwork(from) : undefined;
    const { resource: _, resentBytes: __, ...told } = await move('fourth-move', 'live', [from, to], 0);
    const targetHost = sites.find(({ name }) => name === to)?.host ?? '';
    const writtenBytes = await writtenByGuest(join(state, targetHost), { signal, withinSeconds: 30 });
    const connectionSurvived = await connection?.goesOn(20);
    connection?.close();
    report.moves.push({ ...told, writtenBytes, ...(connectionSurvived === undefined ? {} : { connectionSurvived }) });
    if (!told.sameBoot) throw new Error('the guest was booted anew');
    const tcp = connectionSurvived === undefined ? '' : `; an open TCP connection ${connectionSurvived ? 'went on' : 'BROKE'}`;
    narrator.note(`at ${to} it has written ${sizeText(writtenBytes)} to its disks${tcp}`);
    if (connectionSurvived === false) throw new Error('an open connection did not survive the live move');
  }

  async function connectInNetwork(site: string) {
    const host = sites.find(({ name }) => name === site)?.host ?? '';
    const [namespace] = namespacesOf(join(state, host));
    if (api === undefined || namespace === undefined) throw new Error(`the agent at ${site} has noted no network`);
    return await openLongAnswer(namespace, `${await pageInNetwork(api, { signal, withinSeconds: 30 })}/cgi-bin/ticks`);
  }

  async function moveThroughKill(ring: readonly string[]): Promise<void> {
    let killedAt: number | undefined;
    let then: MoveSighting | undefined;
    let resumedAt: number | undefined;
    let copyingSince: number | undefined;
    const done = await move('third-move', 'warm', ring, 2, async (sighting) => {
      if (killedAt === undefined) {
        const copying = sighting.phase === 'copy' || sighting.phase === 'passes';
        if (!copying) return;
        copyingSince ??= performance.now();
        // Progress is told once a second at most, and a fast machine may be through by then.
        if (sighting.bytes === 0 && performance.now() - copyingSince < 250) return;
        then = sighting;
        killedAt = performance.now();
        await server?.kill();
        narrator.note(`kill -9 at ${sizeText(sighting.bytes)} of ${sizeText(sighting.totalBytes)}, phase ${sighting.phase}`);
        if (ports !== undefined) await startControlPlane(root, state, ports, keep);
        narrator.note(`started again on the same state after ${spanText(performance.now() - killedAt)}`);
        return;
      }
      if (resumedAt === undefined && (sighting.phase !== then?.phase || sighting.bytes > (then?.bytes ?? 0))) resumedAt = performance.now();
    });
    if (killedAt === undefined) throw new Error('the copy was over before the server could be killed');
    report.killed = {
      chunkBytes: transferChunkBytes,
      streams: transferStreams,
      resentBytes: done.resentBytes,
      resumedSeconds: rounded(((resumedAt ?? performance.now()) - killedAt) / 1000),
    };
    narrator.done(`the move went on by itself after ${report.killed.resumedSeconds} s; ${sizeText(done.resentBytes)} sent again`);
  }

  function measure(): void {
    report.server.rssMiB = server === undefined ? null : (residentMiB(server.pid) ?? null);
    report.agents = [...agents].map(([site, { pid }]) => ({ site, rssMiB: residentMiB(pid) ?? null }));
    const each = report.agents.map(({ rssMiB }) => rssMiB).join(', ');
    narrator.done(`memory: server ${report.server.rssMiB} MiB, agents ${each} MiB`);
  }

  async function end(): Promise<void> {
    asking?.stop();
    if (tidying !== undefined && server?.running === true && [...agents.values()].every(({ running }) => running)) {
      await deleteGuest(tidying, { signal: AbortSignal.timeout(120_000), withinSeconds: 60 });
    }
    await stopPrograms();
  }

  async function stopPrograms(): Promise<void> {
    await Promise.all([...agents.values()].map(async (agent) => await agent.stop(20)));
    await server?.stop(30);
  }

  return {
    report,
    walk,
    end: async () => await end().finally(stopPrograms),
    get access() {
      return access;
    },
  };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
