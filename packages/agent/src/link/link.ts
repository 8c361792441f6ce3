import {
  type AgentFeature,
  type AgentMessage,
  agentFrameBytes,
  agentProtocols,
  type DesiredState,
  frameFault,
  type HostInventory,
  type OverlayReport,
  type PathProbeOutcome,
  Problem,
  ServerMessage,
  type ServerPathProbe,
  type ServerStream,
} from '@virt8ra/contract';
import { Check } from 'typebox/value';
import WebSocket from 'ws';
import type { Board } from '../desired/board.js';
import type { Log } from '../log.js';
import type { Samples } from '../samples/sampler.js';
import { agentVersion } from '../version.js';
import { clockReason } from './clock-check.js';
import type { Identity } from './identity.js';
import { Outbox, type Progress } from './outbox.js';
import { through } from './through.js';

export interface LinkOptions {
  readonly identity: () => Identity;
  readonly bootId: string;
  /** What this host can do beyond the protocol's first form. */
  readonly features: readonly AgentFeature[];
  readonly board: Board;
  /** Generation of the ledger. */
  readonly generation: () => number;
  /** Takes over a desired state; durable when it returns. */
  readonly accept: (epoch: string, state: DesiredState) => Promise<void>;
  /** The newest desired state, and the epoch it was told under. */
  readonly told: () => { readonly epoch: string | null; readonly state: DesiredState };
  readonly inventory: () => Promise<HostInventory>;
  readonly openStream: (request: ServerStream) => void;
  readonly measurePath?: (request: ServerPathProbe) => void;
  /** What the overlay measured, told after each greeting. */
  readonly overlay?: () => OverlayReport;
  readonly log: Log;
  readonly inventorySeconds?: number;
  /** Shortest and longest pause between two attempts. */
  readonly backoffMs?: { readonly least: number; readonly most: number };
}

export interface Link {
  readonly connected: boolean;
  progress(progress: Progress): void;
  /** Sent now or never, and only to a control plane that takes them. */
  samples(samples: Samples): void;
  /** Tells what the overlay measured anew; dropped while there is no connection, and for a control plane that takes none. */
  overlay(report: OverlayReport): void;
  /** Sends the inventory now; dropped while there is no connection. */
  sendInventory(): void;
  /** What came of measuring a path; dropped while there is no connection. */
  pathProbe(id: string, outcome: PathProbeOutcome): void;
  /** This end's address in the current connection, undefined before the first. */
  readonly localAddress: string | undefined;
  stop(): Promise<void>;
}

const lateBytes = 256 * 1024;

/** Keeps a connection to the control plane for as long as the agent lives: dial, greet, follow, and again after a pause when it breaks. */
export function openLink(options: LinkOptions): Link {
  const { least, most } = options.backoffMs ?? { least: 200, most: 10_000 };
  const { log } = options;
  let session: Session | undefined;
  let localAddress: string | undefined;
  let stopped = false;
  let attempts = 0;
  let retry: NodeJS.Timeout | undefined;

  const dial = () => {
    session = openSession(options, {
      greeted: () => {
        localAddress = session?.localAddress();
      },
      followed: () => {
        attempts = 0;
      },
      ended: (reason) => {
        session = undefined;
        if (stopped) return;
        const ceiling = Math.min(least * 2 ** attempts, most);
        const pauseMs = Math.round(ceiling * (0.5 + Math.random() / 2));
        attempts += 1;
        log[attempts === 1 ? 'info' : 'debug']('the link is down', { reason, pauseMs, attempts });
        retry = setTimeout(dial, pauseMs);
      },
    });
  };
  dial();
  return {
    get connected() {
      return session?.greeted() === true;
    },
    get localAddress() {
      return localAddress;
    },
    progress: (progress) => session?.outbox()?.progress(progress),
    samples: (samples) => session?.samples(samples),
    overlay: (report) => session?.overlay(report),
    sendInventory: () => session?.sendInventory(),
    pathProbe: (id, outcome) => session?.pathProbe(id, outcome),
    stop: async () => {
      stopped = true;
      clearTimeout(retry);
      await session?.close();
    },
  };
}

interface SessionListener {
  greeted(): void;
  /** A desired state was taken over. Only now the link is of use: one that breaks before is not dialled again at once for ever. */
  followed(): void;
  ended(reason: string): void;
}

interface Session {
  greeted(): boolean;
  overlay(report: OverlayReport): void;
  sendInventory(): void;
  pathProbe(id: string, outcome: PathProbeOutcome): void;
  outbox(): Outbox | undefined;
  samples(samples: Samples): void;
  localAddress(): string | undefined;
  close(): Promise<void>;
}

function openSession(options: LinkOptions, on: SessionListener): Session {
  const { log } = options;
  const identity = options.identity();
  const url = new URL('/agent/v1/link', identity.server);
  url.protocol = 'wss:';
  const socket = new WebSocket(url, {
    ...through(identity, url),
    ca: identity.ca,
    cert: identity.certificate,
    key: identity.privateKey,
    minVersion: 'TLSv1.3',
    maxPayload: agentFrameBytes,
    handshakeTimeout: 10_000,
    perMessageDeflate: false,
  });
  let outbox: Outbox | undefined;
  let reason = 'the server closed it';
  let local: string | undefined;
  let heardAt = performance.now();
  let beat: NodeJS.Timeout | undefined;
  let inventoryTimer: NodeJS.Timeout | undefined;
  // Desired states are taken over one after the other, in the order they came.
  let accepting: Promise<void> = Promise.resolve();
  let inMaintenance = false;
  let takesSamples = false;
  let takesOverlay = false;

  const send = (message: AgentMessage) => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
  const fail = (why: string) => {
    reason = why;
    socket.terminate();
  };
  const sendInventory = async () => {
    const inventory = await options.inventory();
    // By this time the control plane sees how far the clocks are apart.
    send({ type: 'inventory', at: new Date().toISOString(), inventory });
  };
  const tellInventory = () => {
    sendInventory().catch((error: unknown) => log.warn('the inventory failed', { problem: String(error) }));
  };
  const overlay = (report: OverlayReport) => send({ type: 'overlay', at: new Date().toISOString(), report });
  const follow = (message: ServerMessage) => {
    switch (message.type) {
      case 'welcome': {
        if (!agentProtocols.some(({ number }) => number === message.protocol))
          return fail(`the server chose protocol ${message.protocol}, which this agent does not speak`);
        if (message.host !== identity.host)
          return fail(`the server takes this host for ${message.host}; its certificate says ${identity.host}`);
        if (outbox !== undefined) return fail('the server welcomed twice');
        takesSamples = message.features?.includes('samples') === true;
        takesOverlay = message.features?.includes('overlay') === true;
        const silenceMs = message.silenceSeconds * 1000;
        beat = setInterval(() => {
          if (performance.now() - heardAt > silenceMs) fail(`nothing was heard for ${message.silenceSeconds} s`);
          else socket.ping();
        }, silenceMs / 3);
        on.greeted();
        log.info('the link is up', { site: message.site, epoch: message.epoch });
        if (message.features?.includes('ledger') === true) send({ type: 'ledger', ...options.told() });
        tellInventory();
        inventoryTimer = setInterval(tellInventory, (options.inventorySeconds ?? 30) * 1000);
        if (options.overlay !== undefined && takesOverlay) overlay(options.overlay());
        outbox = new Outbox(options.board, options.generation, { send, bufferedBytes: () => socket.bufferedAmount });
        return;
      }
      case 'desired':
        accepting = accepting
          .then(() => options.accept(message.epoch, message.state))
          .then(() => {
            on.followed();
            outbox?.announce();
            if ((message.state.maintenance === true) === inMaintenance) return;
            inMaintenance = message.state.maintenance === true;
            tellInventory();
          })
          .catch((error: unknown) =>
            fail(`the desired state could not be taken over: ${error instanceof Error ? error.message : String(error)}`),
          );
        return;
      case 'stream':
        return options.openStream(message);
      case 'path-probe':
        return options.measurePath?.(message);
      case 'refused':
        log.error('the control plane refuses this host', { code: message.code, problem: message.message });
        return fail(`refused: ${message.message}`);
    }
  };
  socket.once('upgrade', (response) => {
    local = response.socket.localAddress;
  });
  socket.once('open', () => {
    heardAt = performance.now();
    send({
      type: 'hello',
      protocols: agentProtocols.map(({ number }) => number),
      agentVersion,
      host: identity.host,
      bootId: options.bootId,
      generation: options.generation(),
      features: [
        'maintenance',
        'live',
        'restart-policy',
        'stop-time',
        'backup',
        'snapshot',
        'limits',
        'dedicated-cpus',
        'huge-pages',
        'rescue',
        'vendor-data',
        'pci-devices',
        'ledger',
        'seeds',
        'pass-figures',
        'boot-probe',
        ...options.features,
      ],
    });
  });
  socket.on('message', (data, binary) => {
    heardAt = performance.now();
    if (binary) return fail('the server sent a binary frame');
    const message = parseFrame(String(data));
    if (message instanceof Problem) fail(message.message);
    else follow(message);
  });
  for (const event of ['ping', 'pong'] as const) {
    socket.on(event, () => {
      heardAt = performance.now();
    });
  }
  socket.on('error', (error) => {
    reason = clockReason(error) ?? error.message;
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      clearInterval(beat);
      clearInterval(inventoryTimer);
      outbox?.close();
      resolve();
      on.ended(reason);
    });
  });
  return {
    greeted: () => outbox !== undefined,
    overlay: (report) => {
      if (outbox !== undefined && takesOverlay) overlay(report);
    },
    sendInventory: () => {
      if (outbox !== undefined) tellInventory();
    },
    pathProbe: (id, outcome) => {
      if (outbox !== undefined) send({ type: 'path-probe', id, outcome });
    },
    outbox: () => outbox,
    samples: (samples) => {
      // Behind what waits already they would only be late.
      if (takesSamples && socket.bufferedAmount < lateBytes) send({ type: 'samples', ...samples });
    },
    localAddress: () => local,
    close: async () => {
      socket.close(1000, 'the agent stops');
      const timer = setTimeout(() => socket.terminate(), 1_000);
      await closed;
      clearTimeout(timer);
    },
  };
}

/** A server's frame, checked. Unknown and malformed frames are a Problem: the unions are closed. */
function parseFrame(text: string): ServerMessage | Problem {
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return new Problem('invalid-request', 'the server sent a frame that is not JSON');
  }
  if (Check(ServerMessage, frame)) return frame;
  return new Problem('invalid-request', `the server sent a frame that the protocol does not know: ${frameFault(ServerMessage, frame)}`);
}
