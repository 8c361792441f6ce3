import type { AgentMessageOf, HostObject } from '@virt8ra/contract';
import { toProblem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { Pool } from 'pg';
import type { WebSocket } from 'ws';
import { createNotifications } from '../database/notifications.js';
import type { ObservedIntake } from './intake.js';
import { type LinkPeer, type LinkSession, openLinkSession } from './link-session.js';
import type { LinkStore } from './link-store.js';
import { createProgressGate, type TransferProgress } from './progress-gate.js';
import { fleetChannel, type HostRequest, requestFromSignal } from './signals.js';

/** What the rest of the control plane is told. Calls may fail and may be lost; they are nudges, the truth is in the database. */
export interface FleetEvents {
  /** These objects changed, became unknown or became known again. */
  onObserved(objects: readonly HostObject[]): void | Promise<void>;
  /** A host was connected, lost or described anew. */
  onHostChanged(host: string): void | Promise<void>;
  /** At most once a second per end of a transfer. */
  onProgress(progress: TransferProgress): void | Promise<void>;
  /** What a host and its guests used lately. */
  onSamples?(host: string, samples: AgentMessageOf<'samples'>): void | Promise<void>;
}

export interface LinksOptions {
  readonly pool: Pool;
  readonly serverId: string;
  readonly epoch: string;
  readonly silenceSeconds: number;
  readonly store: LinkStore;
  readonly intake: ObservedIntake;
  readonly events: FleetEvents;
  /** A host's part in the overlay may have changed. */
  readonly overlayChanged: () => void;
  /** A host tells what came of measuring a path. */
  readonly pathProbed: (host: string, message: AgentMessageOf<'path-probe'>) => Promise<void>;
  readonly log: Log;
}

export interface Links {
  /** Takes over a WebSocket whose certificate was checked. */
  accept(socket: WebSocket, peer: LinkPeer): void;
  /** Asks something of a host; false when this replica does not hold its link. */
  ask(host: string, request: HostRequest): boolean;
  start(): Promise<void>;
  /** Ends every link in an orderly way: their hosts are not silent before the usual time. */
  stop(): Promise<void>;
}

/** The links this replica holds, kept in step with the database by signal and, for lost signals, by beat. */
export function createLinks(options: LinksOptions): Links {
  const { pool, store, log, events, silenceSeconds } = options;
  const sessions = new Set<LinkSession>();
  let beatTimer: NodeJS.Timeout | undefined;
  let beating: Promise<void> | undefined;
  let stopped = false;

  const tell = (what: string, call: () => void | Promise<void>): void => {
    const failed = (error: unknown): void => log.warn('a fleet event was not taken', { event: what, problem: toProblem(error).message });
    try {
      void Promise.resolve(call()).catch(failed);
    } catch (error) {
      failed(error);
    }
  };
  const progress = createProgressGate((update) => tell('progress', () => events.onProgress(update)));

  const review = async (chosen: readonly LinkSession[]): Promise<void> => {
    const linked = chosen.filter((session) => session.isLinked());
    const reviews = await store.review(
      linked.map(({ host, linkId, heardSecondsAgo }) => ({ host, linkId, heardSecondsAgo: heardSecondsAgo() })),
    );
    for (const found of reviews) linked.find((session) => session.linkId === found.linkId)?.follow(found);
  };
  const beat = async (): Promise<void> => {
    for (const session of sessions) session.beat();
    await review([...sessions]);
    for (const host of await store.takeSilent()) {
      log.warn('a host fell silent', { host });
      const objects = await store.objectsOf(host);
      tell('host', () => events.onHostChanged(host));
      if (objects.length > 0) tell('observed', () => events.onObserved(objects));
    }
  };
  const beatSafely = (): void => {
    beating ??= beat()
      .catch((error: unknown) => log.warn('links could not be reviewed', { problem: toProblem(error).message }))
      .finally(() => {
        beating = undefined;
      });
  };
  // Signals of one moment are answered by one review of the newest state.
  let signalled: Set<string> | 'all' | undefined;
  const onSignal = (host: string | undefined): void => {
    const first = signalled === undefined;
    if (host === undefined) signalled = 'all';
    else if (signalled !== 'all') signalled = new Set([...(signalled ?? []), host]);
    if (first) setImmediate(answerSignals);
  };
  const answerSignals = (): void => {
    const asked = signalled;
    signalled = undefined;
    const chosen = [...sessions].filter((session) => asked === 'all' || asked?.has(session.host) === true);
    if (chosen.length === 0) return;
    review(chosen).catch((error: unknown) => log.warn('links could not be reviewed', { problem: toProblem(error).message }));
  };
  const ask = (host: string, request: HostRequest): boolean => {
    const session = [...sessions].find((each) => each.host === host && each.isLinked());
    session?.ask(request);
    return session !== undefined;
  };
  const signals = createNotifications({
    pool,
    channel: fleetChannel,
    log,
    onNotification(payload) {
      const asked = payload === undefined ? undefined : requestFromSignal(payload);
      if (asked === undefined) onSignal(payload);
      else ask(asked.host, asked.request);
    },
  });

  return {
    accept(socket, peer) {
      if (stopped) {
        socket.terminate();
        return;
      }
      const { host } = peer;
      const session: LinkSession = openLinkSession({
        ...options,
        socket,
        peer,
        on: {
          linked: () => tell('host', () => events.onHostChanged(host)),
          observed: (objects) => tell('observed', () => events.onObserved(objects)),
          inventory: () => tell('host', () => events.onHostChanged(host)),
          samples: (samples) => tell('samples', () => events.onSamples?.(host, samples)),
          overlayChanged: options.overlayChanged,
          pathProbed: (message) => tell('path', async () => await options.pathProbed(host, message)),
          progress: ({ type: _, ...update }) => progress.offer({ host, ...update }),
          ended: () => {
            sessions.delete(session);
            if (!stopped) tell('host', () => events.onHostChanged(host));
          },
        },
      });
      sessions.add(session);
    },
    ask,
    async start() {
      await signals.start();
      beatTimer = setInterval(beatSafely, (silenceSeconds * 1000) / 3);
    },
    async stop() {
      stopped = true;
      clearInterval(beatTimer);
      progress.stop();
      await Promise.all([...sessions].map(async (session) => await session.close('the server stops')));
      await beating;
      await signals.stop();
    },
  };
}
