import { randomUUID } from 'node:crypto';
import type { HostObject } from '@virt8ra/contract';
import {
  AgentMessage,
  type AgentMessageOf,
  agentProtocols,
  frameFault,
  Problem,
  type ServerMessage,
  serverFeatures,
  toProblem,
} from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import { Compile } from 'typebox/compile';
import { WebSocket } from 'ws';
import type { LinkIdentity, ObservedIntake } from './intake.js';
import type { LinkReview, LinkStore } from './link-store.js';
import type { HostRequest } from './signals.js';

/** Whom a checked certificate names. */
export interface LinkPeer {
  readonly host: string;
  readonly site: string;
  readonly fingerprint: string;
  readonly expiresAt: Date;
}

export interface LinkSessionOptions {
  readonly socket: WebSocket;
  readonly peer: LinkPeer;
  readonly serverId: string;
  readonly epoch: string;
  readonly silenceSeconds: number;
  readonly store: LinkStore;
  readonly intake: ObservedIntake;
  readonly log: Log;
  readonly on: {
    /** It is the host's link now; called once, before anything else. */
    readonly linked: () => void;
    readonly observed: (objects: readonly HostObject[]) => void;
    readonly inventory: () => void;
    readonly overlayChanged: () => void;
    readonly progress: (progress: AgentMessageOf<'progress'>) => void;
    readonly pathProbed: (message: AgentMessageOf<'path-probe'>) => void;
    readonly samples: (samples: AgentMessageOf<'samples'>) => void;
    /** Called once; the link is released then. */
    readonly ended: () => void;
  };
}

export interface LinkSession extends LinkIdentity {
  /** The database knows it as the host's link. */
  isLinked(): boolean;
  heardSecondsAgo(): number;
  /** Sends a ping, or ends a link that is silent for too long or whose certificate has expired. */
  beat(): void;
  /** Follows what the database says: sends a newer desired state, or ends the link. */
  follow(review: LinkReview): void;
  ask(request: HostRequest): void;
  close(reason: string): Promise<void>;
}

const messageShape = Compile(AgentMessage);
const helloMs = 10_000;
/** Frames that wait for the database; beyond the first number the agent is not read any further. */
const waiting = { pause: 16, resume: 4 } as const;

/** One agent on one WebSocket, until either ends. */
export function openLinkSession(options: LinkSessionOptions): LinkSession {
  const { socket, peer, store, intake, on, silenceSeconds } = options;
  const link: LinkIdentity = { host: peer.host, linkId: randomUUID() };
  const log = bindLog(options.log, { host: peer.host, link: link.linkId });
  let heardAt = performance.now();
  let greeted = false;
  let linked = false;
  let sentGeneration = -1;
  let pushing = false;
  let pushAgain = false;
  let frames = 0;
  // Frames are taken one after the other, in the order they came.
  let taken: Promise<void> = Promise.resolve();
  let reason = 'the agent closed it';

  const send = async (message: ServerMessage): Promise<void> => {
    if (socket.readyState !== WebSocket.OPEN) return;
    // Resolved when the frame is handed to the system, so that at most one is under way.
    await new Promise<void>((resolve) => socket.send(JSON.stringify(message), () => resolve()));
  };
  const end = (why: string): void => {
    reason = why;
    socket.terminate();
  };
  const refuse = async (code: string, message: string): Promise<void> => {
    reason = `refused: ${message}`;
    log.warn('an agent was refused', { code, problem: message });
    await send({ type: 'refused', code, message });
    socket.close(1008, code);
    setTimeout(() => socket.terminate(), 1000).unref();
  };

  const removed = `host ${link.host} is no longer part of this control plane`;
  const isRemoved = async (): Promise<boolean> => (await store.desiredState(link.host).catch(() => 'not known')) === undefined;

  /** A review that waited for the removal of the host still saw the host, but its link no more. */
  const endSuperseded = async (): Promise<void> => {
    if (await isRemoved()) await refuse('removed', removed);
    else end('a newer link of the host took over');
  };

  const pushNewest = async (): Promise<void> => {
    while (pushAgain && socket.readyState === WebSocket.OPEN) {
      pushAgain = false;
      const state = await store.desiredState(link.host);
      if (state === undefined) return await refuse('removed', removed);
      // After a restore its own word may be newer than ours: it is told nothing before both were compared.
      if (await store.isHeld(link.host)) return;
      if (state.generation <= sentGeneration) continue;
      sentGeneration = state.generation;
      await send({ type: 'desired', epoch: options.epoch, state });
    }
  };
  /** At most one state is under way; what changed meanwhile goes together in the next. */
  const push = (): void => {
    pushAgain = true;
    if (pushing) return;
    pushing = true;
    pushNewest()
      .catch((error: unknown) => end(`the desired state could not be read: ${toProblem(error).message}`))
      .finally(() => {
        pushing = false;
        if (pushAgain && socket.readyState === WebSocket.OPEN) push();
      });
  };

  const greet = async (hello: AgentMessageOf<'hello'>): Promise<void> => {
    if (greeted) return await refuse('unexpected', 'hello was said twice');
    greeted = true;
    clearTimeout(helloTimer);
    if (hello.host !== peer.host) return await refuse('wrong-host', `the certificate is of host ${peer.host}, not of ${hello.host}`);
    const protocol = highestCommonProtocol(hello.protocols);
    if (protocol === undefined) {
      return await refuse('protocol', `no common protocol: this server speaks ${agentProtocols.map(({ number }) => number).join(', ')}`);
    }
    const claimed = await store.claim(link, { serverId: options.serverId, fingerprint: peer.fingerprint }, hello);
    if (!claimed) return await refuse('revoked', `the certificate of host ${peer.host} is revoked; enrol the host anew`);
    linked = true;
    if (socket.readyState !== WebSocket.OPEN) return await store.release(link);
    on.linked();
    const held = await store.isHeld(link.host);
    log.info('a host is connected', { agentVersion: hello.agentVersion, generation: hello.generation });
    await send({
      type: 'welcome',
      protocol,
      epoch: options.epoch,
      host: peer.host,
      site: peer.site,
      silenceSeconds,
      features: [...serverFeatures, ...(held ? ['ledger'] : [])],
    });
    push();
  };

  const take = async (message: AgentMessage): Promise<void> => {
    if (message.type === 'hello') return await greet(message);
    if (!linked) return await refuse('unexpected', `${message.type} came before hello`);
    switch (message.type) {
      case 'inventory':
        if (await intake.takeInventory(link, message)) on.overlayChanged();
        return on.inventory();
      case 'overlay': {
        const { networks, replan } = await intake.takeOverlay(link, message);
        if (replan) on.overlayChanged();
        if (networks.length > 0) on.observed(networks);
        return;
      }
      case 'observed': {
        const touched = await intake.takeObserved(link, message);
        if (touched.length > 0) on.observed(touched);
        return;
      }
      case 'progress':
        return on.progress(message);
      case 'samples':
        return on.samples(message);
      case 'path-probe':
        return on.pathProbed(message);
      case 'ledger':
        return await intake.takeLedger(link, message);
    }
  };

  const helloTimer = setTimeout(() => end('no hello came'), helloMs);
  socket.on('message', (data, binary) => {
    heardAt = performance.now();
    if (socket.readyState !== WebSocket.OPEN) return;
    frames += 1;
    if (frames >= waiting.pause) socket.pause();
    taken = taken
      .then(async () => {
        if (socket.readyState === WebSocket.OPEN) await take(parseFrame(data.toString(), binary));
      })
      .catch(async (error: unknown) => {
        const problem = toProblem(error);
        if (problem.kind === 'invalid-request') return await refuse('malformed', problem.message);
        // A host that was just removed is told so, whatever it was about to say.
        if (await isRemoved()) return await refuse('removed', removed);
        // Agents send changes only: one that could not be stored is told again after a new link.
        log.warn('a frame could not be stored', { problem: problem.message });
        end(`a frame could not be stored: ${problem.message}`);
      })
      .finally(() => {
        frames -= 1;
        if (frames <= waiting.resume && socket.isPaused) socket.resume();
      });
  });
  for (const event of ['ping', 'pong'] as const) {
    socket.on(event, () => {
      heardAt = performance.now();
    });
  }
  socket.on('error', (error) => {
    reason = error.message;
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      clearTimeout(helloTimer);
      // What was received before the end still counts.
      void taken
        .then(async () => {
          if (linked) await store.release(link);
        })
        .catch((error: unknown) => log.debug('a link could not be released', { problem: toProblem(error).message }))
        .finally(() => {
          log.info('a host’s link ended', { reason });
          on.ended();
          resolve();
        });
    });
  });

  return {
    ...link,
    isLinked: () => linked,
    heardSecondsAgo: () => (performance.now() - heardAt) / 1000,
    beat() {
      if (peer.expiresAt.getTime() < Date.now()) return end('its certificate has expired');
      // While the agent is not read, its pongs are not heard either.
      if (!socket.isPaused && performance.now() - heardAt > silenceSeconds * 1000) return end(`nothing was heard for ${silenceSeconds} s`);
      if (socket.readyState === WebSocket.OPEN) socket.ping();
    },
    follow(review) {
      if (!linked) return;
      if (review.verdict === 'superseded') return void endSuperseded();
      if (review.verdict === 'ended') {
        refuse('revoked', `host ${peer.host} or its certificate is no longer part of this control plane`).catch(() => socket.terminate());
        return;
      }
      if (review.generation > sentGeneration) push();
    },
    ask: (request) => void send(request),
    async close(why) {
      reason = why;
      socket.close(1001, why);
      const timer = setTimeout(() => socket.terminate(), 1000);
      await closed;
      clearTimeout(timer);
    },
  };
}

function highestCommonProtocol(offered: readonly number[]): number | undefined {
  const common = agentProtocols.map(({ number }): number => number).filter((number) => offered.includes(number));
  return common.length === 0 ? undefined : Math.max(...common);
}

/** Raises `invalid-request` for what the protocol does not know: the unions are closed. */
function parseFrame(text: string, binary: boolean): AgentMessage {
  if (binary) throw new Problem('invalid-request', 'a binary frame was sent');
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    throw new Problem('invalid-request', 'a frame is not JSON');
  }
  if (messageShape.Check(frame)) return frame;
  throw new Problem('invalid-request', `a frame is not of the protocol: ${frameFault(AgentMessage, frame)}`);
}

function bindLog(log: Log, bound: object): Log {
  return {
    debug: (message, facts) => log.debug(message, { ...bound, ...facts }),
    info: (message, facts) => log.info(message, { ...bound, ...facts }),
    warn: (message, facts) => log.warn(message, { ...bound, ...facts }),
    error: (message, facts) => log.error(message, { ...bound, ...facts }),
  };
}
