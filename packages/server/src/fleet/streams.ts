import { randomBytes } from 'node:crypto';
import {
  type AgentFeature,
  carrierFromSocket,
  endedBecause,
  type OpenedStream,
  openedStream,
  Problem,
  type ServerStream,
  type StreamCarrier,
  type StreamTarget,
  toProblem,
} from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { Pool } from 'pg';
import type { WebSocket } from 'ws';
import type { LinkPeer } from './link-session.js';
import { tellRequest } from './signals.js';

export interface StreamRequest {
  readonly site: string;
  readonly host: string;
  readonly instanceKey: string;
  readonly target: StreamTarget;
  readonly by: string;
  readonly signal: AbortSignal;
}

/** Streams that agents dial out for. Those of this replica are in its memory; the link that asks for them may be at another. */
export interface FleetStreams {
  /** See `AgentFleet.openStream`. */
  open(request: StreamRequest): Promise<OpenedStream>;
  /** Answers who takes the dialled socket. Raises `not-found` when no stream of that host waits for the ticket here. */
  claim(ticket: string, peer: LinkPeer): (socket: WebSocket) => void;
  start(): void;
  /** Ends all, with the reason. */
  stop(): void;
}

export interface FleetStreamsOptions {
  readonly pool: Pool;
  readonly silenceSeconds: number;
  /** Where agents reach this very replica; undefined: where their link goes. */
  readonly replicaUrl: string | undefined;
  /** Sends it on the host's link if this replica holds it. */
  readonly ask: (host: string, request: ServerStream) => boolean;
  readonly log: Log;
  readonly perHost?: number;
  readonly dialSeconds?: number;
}

interface Waiting {
  readonly host: string;
  readonly take: (socket: WebSocket, fingerprint: string) => void;
}

interface Live {
  readonly host: string;
  readonly fingerprint: string;
}

const reviewMs = 5_000;
/** Time that an agent has to reach the place once it has dialled: several addresses of a guest, one after the other. */
const openSeconds = 30;

export function createFleetStreams(options: FleetStreamsOptions): FleetStreams {
  const { pool, silenceSeconds, replicaUrl, ask, log, perHost = 64, dialSeconds = 10 } = options;
  const waiting = new Map<string, Waiting>();
  const live = new Map<StreamCarrier, Live>();
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;

  const assertRoom = (host: string): void => {
    const those = [...waiting.values(), ...live.values()].filter((each) => each.host === host).length;
    if (those < perHost) return;
    throw new Problem('throttled', `host ${host} serves ${those} streams already; end one first`, { retryAfterSeconds: 5 });
  };
  const assertAble = async ({ site, host, target }: StreamRequest): Promise<void> => {
    const feature: AgentFeature = target.type === 'guest-disks' ? target.type : 'streams';
    const found = await pool.query<{ connected: boolean | null; able: boolean | null; agent_version: string | null }>(
      `select link_id is not null and heard_at > clock_timestamp() - make_interval(secs => $3) as connected, features ? $4 as able, agent_version
         from fleet.host left join fleet.link using (host) where host = $1 and site = $2`,
      [host, site, silenceSeconds, feature],
    );
    const row = found.rows[0];
    if (row === undefined) throw new Problem('not-found', `site ${site} has no host ${host}`);
    if (row.connected !== true) throw new Problem('unavailable', `host ${host} is not connected at the moment`, { retryAfterSeconds: 2 });
    if (row.able !== true) {
      if (feature === 'guest-disks')
        throw new Problem(
          'unsupported',
          `host ${host} cannot look into disks of guests; virt8ra-agent doctor says there what it lacks (apt install guestfish)`,
        );
      throw new Problem('unsupported', `the agent of host ${host} (version ${row.agent_version ?? 'unknown'}) opens no streams; update it`);
    }
  };
  /** The carrier that the agent dials for the ticket. */
  const dialled = async (request: StreamRequest, ticket: string): Promise<StreamCarrier> => {
    const { host, signal } = request;
    const asked: ServerStream = {
      type: 'stream',
      ticket,
      instanceKey: request.instanceKey,
      target: request.target,
      by: request.by.slice(0, 128),
      ...(replicaUrl === undefined ? {} : { url: replicaUrl }),
    };
    let giveUp: (problem: Problem) => void = () => {};
    const carrier = new Promise<StreamCarrier>((resolve, reject) => {
      giveUp = reject;
      waiting.set(ticket, {
        host,
        take: (socket, fingerprint) => {
          const made = carrierFromSocket(socket);
          live.set(made, { host, fingerprint });
          resolve(made);
        },
      });
    });
    const late = setTimeout(
      () =>
        giveUp(
          new Problem(
            'unavailable',
            `the agent of host ${host} did not open the stream within ${dialSeconds} s; where several servers share one address for agents, each needs agents.replicaUrl`,
            { retryAfterSeconds: 2 },
          ),
        ),
      dialSeconds * 1000,
    );
    const cancel = (): void => giveUp(new Problem('cancelled', 'the caller left'));
    signal.addEventListener('abort', cancel);
    if (signal.aborted) cancel();
    try {
      if (!ask(host, asked)) await tellRequest(pool, host, asked);
      return await carrier;
    } finally {
      clearTimeout(late);
      signal.removeEventListener('abort', cancel);
      waiting.delete(ticket);
    }
  };
  /** Ends the streams of hosts that are no longer part of the fleet. */
  const review = async (): Promise<void> => {
    if (live.size === 0) return;
    const prints = [...new Set([...live.values()].map(({ fingerprint }) => fingerprint))];
    const valid = await pool.query<{ fingerprint: string }>(
      'select fingerprint from fleet.certificate where fingerprint = any ($1) and revoked_at is null',
      [prints],
    );
    const kept = new Set(valid.rows.map(({ fingerprint }) => fingerprint));
    for (const [carrier, { host, fingerprint }] of live) {
      if (!kept.has(fingerprint)) carrier.end(endedBecause('cut', `host ${host} is no longer part of this control plane`));
    }
  };

  return {
    async open(request) {
      if (stopped) throw new Problem('unavailable', 'this server is stopping', { retryAfterSeconds: 1 });
      assertRoom(request.host);
      await assertAble(request);
      assertRoom(request.host);
      const carrier = await dialled(request, randomBytes(32).toString('base64url'));
      const giveUp = (): void => carrier.end(endedBecause('closed', 'the caller left'));
      const late = setTimeout(() => carrier.end(endedBecause('closed', `nothing was said within ${openSeconds} s`)), openSeconds * 1000);
      request.signal.addEventListener('abort', giveUp);
      if (request.signal.aborted) giveUp();
      try {
        return await openedStream(carrier, () => live.delete(carrier));
      } finally {
        clearTimeout(late);
        request.signal.removeEventListener('abort', giveUp);
      }
    },
    claim(ticket, { host, fingerprint }) {
      const found = waiting.get(ticket);
      // Another host learns no more than that there is none for it.
      if (found?.host !== host) throw new Problem('not-found', 'no stream waits for this ticket here');
      waiting.delete(ticket);
      return (socket) => found.take(socket, fingerprint);
    },
    start() {
      timer = setInterval(() => {
        review().catch((error: unknown) => log.warn('streams could not be reviewed', { problem: toProblem(error).message }));
      }, reviewMs);
      timer.unref();
    },
    stop() {
      stopped = true;
      clearInterval(timer);
      for (const carrier of live.keys()) carrier.end(endedBecause('stopping', 'the server stops'));
    },
  };
}
