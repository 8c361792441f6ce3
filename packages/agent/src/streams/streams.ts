import { existsSync } from 'node:fs';
import {
  type DesiredInstance,
  endedBecause,
  type GuestInspection,
  joinOctets,
  Problem,
  type ServerStream,
  type StreamCarrier,
  type StreamEnded,
  type StreamTarget,
  streamFrameBytes,
  toProblem,
} from '@virt8ra/contract';
import { GuestConsole, viewersMost } from '../console/guest-console.js';
import { keptOctets } from '../console/serial-tail.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import { guestPaths } from '../instances/guest-starter.js';
import type { InstanceStore } from '../instances/instance-store.js';
import type { Identity } from '../link/identity.js';
import { interfaceName } from '../network/interface-name.js';
import type { Guest } from '../qemu/guest.js';
import { dialStream } from './dial-stream.js';
import { connectPort, connectScreen } from './guest-places.js';
import { createNamespaceDialer } from './namespace-dialer.js';

export interface StreamsOptions {
  readonly context: HostContext;
  readonly store: InstanceStore;
  readonly identity: () => Identity;
  readonly guests: { guest(key: string): Guest | undefined };
  /** What the disks of an instance say of its guest, no older than that. */
  readonly inspect: (key: string, maxAgeSeconds: number) => Promise<GuestInspection>;
  /** A transfer has or wants the guest's disks. */
  readonly isMoving: (instanceKey: string) => boolean;
  /** Streams at the same time; beyond it they are refused. Default 128. */
  readonly most?: number;
}

/** What the control plane asks this host to open: each is one connection outwards. */
export interface Streams {
  open(request: ServerStream): void;
  readonly count: number;
  /** Ends all, with the reason. */
  stop(): Promise<void>;
}

const streamsMost = 128;
/** Longest wait for the ends to leave when the agent stops. */
const stopMs = 1_000;

export function createStreams({ context, store, identity, guests, inspect, isMoving, most = streamsMost }: StreamsOptions): Streams {
  const { log } = context;
  const open = new Set<StreamCarrier>();
  const consoles = new Map<Guest, Promise<GuestConsole>>();
  const departures = new Map<Guest, Set<(ended: StreamEnded) => void>>();
  const opening = new Set<Promise<void>>();
  const dialer = createNamespaceDialer();
  let emptied: (() => void) | undefined;

  const desiredOf = (key: string): DesiredInstance => {
    const desired = context.ledger.state.instances.find((instance) => instance.key === key);
    if (desired === undefined) throw new Problem('not-found', 'the instance is not on this host (any more)');
    return desired;
  };
  const placeOf = (networkKey: string): { bridge: string; namespace: string | undefined } | undefined => {
    const bridge = context.board.get('network', networkKey)?.bridge;
    const vni = context.ledger.state.networks.find((network) => network.key === networkKey)?.vni;
    if (bridge === undefined || vni === undefined) return undefined;
    // A network may have a namespace of its own, as `ip netns` names it, or stand in that of the host.
    const namespace = `/run/netns/${interfaceName('v8n', context.controlPlane, String(vni))}`;
    return { bridge, namespace: existsSync(namespace) ? namespace : undefined };
  };
  const runningGuest = (key: string): Guest => {
    const guest = guests.guest(key);
    if (guest !== undefined) return guest;
    const seen = context.board.get('instance', key);
    const soon = desiredOf(key).power === 'on' && (seen?.state === 'starting' || seen?.state === 'waiting');
    const why = `it is ${seen?.state ?? 'not there'}${seen?.waitingFor === undefined ? '' : ` for ${seen.waitingFor}`}`;
    throw new Problem(soon ? 'unavailable' : 'conflict', `the instance does not run ${soon ? 'yet' : 'now'}: ${why}`);
  };
  /** Why a guest's process is gone, for those who were looking at it. */
  const farewell = (key: string): StreamEnded => {
    const desired = context.ledger.state.instances.find((instance) => instance.key === key);
    const record = store.get(key);
    const gaveUp = desired?.permit !== undefined && context.permits.hasSurrendered(desired.instance, desired.permit.epoch);
    if (isMoving(key) || gaveUp) return endedBecause('moved', 'the instance moves to another host');
    if (desired === undefined) return endedBecause('stopped', 'the instance was removed from this host');
    if (record !== undefined && desired.restarts > record.restarts) return endedBecause('restarting', 'the instance is restarted');
    return endedBecause(
      'stopped',
      desired.power === 'off' ? 'the instance was stopped' : 'the guest switched itself off, or its process ended',
    );
  };
  /** Tells once when the guest is gone; answers how to take that back. */
  const onGone = (key: string, guest: Guest, tell: (ended: StreamEnded) => void): (() => void) => {
    const known = departures.get(guest);
    const waiting = known ?? new Set();
    if (known === undefined) {
      departures.set(guest, waiting);
      void guest.monitor.closed.then(() => {
        departures.delete(guest);
        for (const each of waiting) each(farewell(key));
      });
    }
    waiting.add(tell);
    return () => waiting.delete(tell);
  };
  const consoleOf = (key: string, guest: Guest): Promise<GuestConsole> => {
    const known = consoles.get(guest);
    if (known !== undefined) return known;
    const made = GuestConsole.open(guest.paths.serial, guest.paths.console, () => consoles.delete(guest));
    consoles.set(guest, made);
    made.then(
      (console) => onGone(key, guest, (ended) => console.end(ended)),
      () => consoles.delete(guest),
    );
    return made;
  };

  const join = async (carrier: StreamCarrier, key: string, target: StreamTarget, by: string): Promise<void> => {
    const desired = desiredOf(key);
    if (target.type === 'console-log') return await sendAll(carrier, await keptOctets(guestPaths(context, store, key).serial));
    if (target.type === 'guest-disks') {
      // It takes longer than anybody waits for a place to be reached.
      carrier.listen({ frame: () => {}, ended: () => {} });
      carrier.send({ type: 'opened' });
      const answer = await inspect(key, target.maxAgeSeconds).catch((error: unknown) => ({ problem: troubleFrom(toProblem(error)) }));
      return await sendAll(carrier, Buffer.from(JSON.stringify(answer)), false);
    }
    const guest = runningGuest(key);
    switch (target.type) {
      case 'console': {
        const console = await consoleOf(key, guest);
        if (console.viewers >= viewersMost) throw new Problem('throttled', `${viewersMost} are at this console already`);
        return await console.attach(carrier, { by, write: target.write, scrollbackBytes: target.scrollbackBytes });
      }
      case 'vnc':
      case 'port': {
        const { networking, dataAddress } = context;
        const socket =
          target.type === 'vnc'
            ? await connectScreen(guest, desired)
            : await connectPort(
                {
                  mode: networking.mode,
                  dataAddress: dataAddress(),
                  placeOf,
                  dialer,
                },
                desired,
                store.get(key),
                target.port,
              );
        const stay = onGone(key, guest, (ended) => carrier.end(ended));
        carrier.send({ type: 'opened' });
        return joinOctets(carrier, socket, { onEnd: stay });
      }
    }
  };

  const openOne = async ({ ticket, instanceKey, target, by, url }: ServerStream): Promise<void> => {
    const carrier = await dialStream(identity(), ticket, url);
    if (emptied !== undefined) return carrier.end(endedBecause('stopping', 'the agent stops'));
    const followed = follow(carrier, () => {
      open.delete(carrier);
      if (open.size === 0) emptied?.();
    });
    open.add(carrier);
    try {
      if (open.size > most) throw new Problem('throttled', `this host serves ${most} streams already`);
      await join(followed, instanceKey, target, by);
    } catch (error) {
      const problem = toProblem(error);
      if (problem.kind === 'internal')
        log.error('a stream could not be opened', { target: target.type, problem: problem.message, stack: problem.stack });
      followed.send({ type: 'refused', code: problem.kind, message: problem.message.slice(0, 1024) });
      followed.listen({ frame: () => {}, ended: () => {} });
      followed.end(endedBecause('closed', 'refused'));
    }
  };

  return {
    open(request) {
      const one = openOne(request)
        .catch((error: unknown) =>
          log.warn('a stream could not be dialled', { target: request.target.type, problem: toProblem(error).message }),
        )
        .finally(() => opening.delete(one));
      opening.add(one);
    },
    get count() {
      return open.size;
    },
    async stop() {
      const empty = new Promise<void>((resolve) => {
        emptied = resolve;
      });
      const ended = endedBecause('stopping', 'the agent stops; guests go on');
      for (const console of consoles.values()) void console.then((each) => each.end(ended));
      for (const carrier of open) carrier.end(ended);
      dialer.close();
      if (open.size === 0) return;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, stopMs);
      });
      await Promise.race([empty, late]);
      clearTimeout(timer);
    },
  };
}

/** The carrier, with a word when it is over. */
function follow(carrier: StreamCarrier, onEnd: () => void): StreamCarrier {
  return {
    ...carrier,
    listen: ({ frame, ended }) =>
      carrier.listen({
        frame,
        ended: (how) => {
          onEnd();
          ended(how);
        },
      }),
  };
}

async function sendAll(carrier: StreamCarrier, octets: Buffer, opens = true): Promise<void> {
  carrier.listen({ frame: () => {}, ended: () => {} });
  if (opens) carrier.send({ type: 'opened' });
  for (let at = 0; at < octets.length; at += streamFrameBytes) {
    await new Promise<void>((sent) => carrier.send(octets.subarray(at, at + streamFrameBytes), sent));
  }
  carrier.send({ type: 'end' });
  carrier.end(endedBecause('done', 'that is all'));
}
