import {
  endedBecause,
  type ServerStream,
  type StreamCarrier,
  type StreamEnded,
  type StreamFrame,
  type StreamTarget,
} from '@virt8ra/contract';
import type { TestDatabase } from '@virt8ra/engine/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FleetOptions } from './fleet.js';
import { type FleetFixture, startFleetFixture } from './testing/fleet-fixture.js';
import { openRawLink } from './testing/raw-link.js';
import { createKey, enrolHost, type SimulatedIdentity } from './testing/simulated-identity.js';
import { dialSimulatedStream, echoPlace } from './testing/simulated-streams.js';
import { postgresIsThere, useFleetDatabase } from './testing/test-database.js';

describe.skipIf(!(await postgresIsThere()))('streams of the fleet', () => {
  const freshDatabase = useFleetDatabase();
  let database: TestDatabase;
  let fixture: FleetFixture;
  const others: FleetFixture[] = [];
  const instance = { host: 'alpha', type: 'instance', key: 'i1' } as const;
  const port: StreamTarget = { type: 'port', port: 80 };

  beforeEach(async () => {
    database = await freshDatabase();
    fixture = await startFleetFixture(database, { silenceSeconds: 1, streamLimits: { perHost: 3, dialSeconds: 2 } });
  });
  afterEach(async () => {
    for (const other of others.splice(0)) await other.stop();
    await fixture.stop();
  });

  const open = async (target = port, from = fixture, signal = new AbortController().signal) =>
    await from.fleet.port.openStream('here', instance, target, { by: 'ann', signal });
  const anotherReplica = async (options: Partial<FleetOptions> = {}): Promise<FleetFixture> => {
    const other = await startFleetFixture(database, { silenceSeconds: 1, stateDirectory: fixture.stateDirectory, ...options });
    others.push(other);
    return other;
  };
  const listen = (carrier: StreamCarrier) => {
    const heard: StreamFrame[] = [];
    let tell: (ended: StreamEnded) => void = () => {};
    const ended = new Promise<StreamEnded>((resolve) => {
      tell = resolve;
    });
    let wake = (): void => {};
    carrier.listen({
      frame: (frame) => {
        heard.push(frame);
        wake();
      },
      ended: (how) => tell(how),
    });
    const text = () => heard.map((frame) => ('type' in frame ? `<${frame.type}>` : Buffer.from(frame).toString())).join('');
    return {
      ended,
      text,
      until: async (expected: string) =>
        await new Promise<void>((resolve) => {
          wake = () => {
            if (text() === expected) resolve();
          };
          wake();
        }),
    };
  };

  it('lead to a place at the host that its agent dialled out for', async () => {
    const requests: ServerStream[] = [];
    await fixture.enrol('alpha', 'here', {
      place: (request, carrier) => {
        requests.push(request);
        carrier.send({ type: 'opened', scrollbackBytes: 5 });
        carrier.send(Buffer.from('first'));
        carrier.listen({ frame: (frame) => carrier.send(frame), ended: () => {} });
      },
    });
    const { carrier, opened } = await open();
    expect(opened).toEqual({ type: 'opened', scrollbackBytes: 5 });
    const heard = listen(carrier);
    carrier.send(Buffer.from(' hello'));
    carrier.send({ type: 'end' });
    await heard.until('first hello<end>');
    expect(requests).toEqual([{ type: 'stream', ticket: expect.any(String), instanceKey: 'i1', target: port, by: 'ann' }]);
    carrier.end(endedBecause('closed', 'enough'));
  });

  it('tell why they were refused, in words of the one table', async () => {
    await fixture.enrol('alpha', 'here', {
      place: (_request, carrier) => {
        carrier.listen({ frame: () => {}, ended: () => {} });
        carrier.send({ type: 'refused', code: 'conflict', message: 'the guest does not run' });
      },
    });
    await expect(open()).rejects.toMatchObject({ kind: 'conflict', message: 'the guest does not run' });
    await expect(
      fixture.fleet.port.openStream('there', instance, port, { by: 'ann', signal: new AbortController().signal }),
    ).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('are refused at once for an agent that cannot, and for a host that is away', async () => {
    await fixture.enrol('alpha', 'here');
    await expect(open()).rejects.toMatchObject({ kind: 'unsupported', message: expect.stringContaining('version simulated') });
    const beta = await fixture.enrol('beta', 'here', { place: echoPlace });
    beta.unplug();
    const there = { ...instance, host: 'beta' };
    await fixture.until('it is seen to be away', async () => (await fixture.fleet.hostStatus(['beta']))[0]?.connected === false);
    await expect(
      fixture.fleet.port.openStream('here', there, port, { by: 'ann', signal: new AbortController().signal }),
    ).rejects.toMatchObject({ kind: 'unavailable', message: 'host beta is not connected at the moment' });
  });

  it('are given up when the agent never dials, when the caller leaves, and when there are too many', async () => {
    const quiet = await fixture.enrol('alpha', 'here', { place: echoPlace });
    const carriers = [await open(), await open()].map(({ carrier }) => carrier);
    const leaving = new AbortController();
    const asked = open(port, fixture, leaving.signal);
    leaving.abort();
    await expect(asked).rejects.toMatchObject({ kind: 'cancelled' });
    carriers.push((await open()).carrier);
    await expect(open()).rejects.toMatchObject({ kind: 'throttled' });
    for (const carrier of carriers) carrier.end(endedBecause('closed', ''));
    const { carrier } = await open();
    carrier.end(endedBecause('closed', ''));
    quiet.kill();
    // Its link is held to be up for as long as it may be silent.
    await database.pool.query(
      `update fleet.link set link_id = 'held', heard_at = clock_timestamp() + interval '1 hour' where host = 'alpha'`,
    );
    await expect(open()).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringContaining('within 2 s') });
  });

  it('take no dial of another host, none with a made-up ticket and none twice', async () => {
    const enrolment = await fixture.fleet.createEnrolment('alpha', 'here');
    const identity = await enrolHost(fixture.fleet.url, enrolment, await createKey());
    const link = await openRawLink(fixture.fleet.url, identity, { features: ['streams'] });
    await link.next('welcome');
    const beta = await fixture.enrol('beta', 'here');
    const opening = open();
    const { ticket } = await link.next('stream');
    const dial = async (as: SimulatedIdentity, given = ticket) => await dialSimulatedStream(as, fixture.fleet.url, given);
    expect(await dial(beta.identity)).toBe(404);
    expect(await dial(identity, 'x'.repeat(43))).toBe(404);
    const own = await dial(identity);
    if (typeof own === 'number') throw new Error(`refused with ${own}`);
    echoPlace({ type: 'stream', ticket, instanceKey: 'i1', target: port, by: '' }, own);
    const { carrier } = await opening;
    expect(await dial(identity)).toBe(404);
    carrier.end(endedBecause('closed', ''));
    link.close();
  });

  it('work from a replica that does not hold the host’s link, when agents can tell the replicas apart', async () => {
    const alpha = await fixture.enrol('alpha', 'here', { place: echoPlace });
    // Port 0: its address is known only when it listens, so that it is asked for by a name of its own.
    const probe = await anotherReplica();
    const { port: free } = new URL(probe.fleet.url);
    await probe.stop();
    others.splice(0);
    const second = await anotherReplica({
      listen: { host: '127.0.0.1', port: Number(free) },
      replicaUrl: `https://localhost:${free}`,
      streamLimits: { dialSeconds: 10 },
    });
    const { carrier } = await open(port, second);
    const heard = listen(carrier);
    carrier.send(Buffer.from('across'));
    await heard.until('across');
    expect(alpha.connected).toBe(true);
    carrier.end(endedBecause('closed', ''));
    // Without, the agent asks where its link goes, and the caller is told what is missing.
    const third = await anotherReplica({ streamLimits: { dialSeconds: 1 } });
    await expect(open(port, third)).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringContaining('agents.replicaUrl') });
  });

  it('end with the agent’s word, with the host’s membership and with the server, each with the reason', async () => {
    const far: StreamCarrier[] = [];
    await fixture.enrol('alpha', 'here', {
      place: (request, carrier) => {
        far.push(carrier);
        echoPlace(request, carrier);
      },
    });
    const [first, second, third] = [listen((await open()).carrier), listen((await open()).carrier), listen((await open()).carrier)];
    far[0]?.end(endedBecause('moved', 'to another host'));
    expect(await first.ended).toEqual(endedBecause('moved', 'to another host'));
    await fixture.fleet.removeHost('alpha');
    expect(await second.ended).toMatchObject({ code: 'cut', message: expect.stringContaining('no longer part') });
    await third.ended;
    await fixture.enrol('alpha', 'here', { place: echoPlace });
    const last = listen((await open()).carrier);
    await fixture.stop();
    expect(await last.ended).toMatchObject({ code: 'stopping' });
  }, 30_000);
});
