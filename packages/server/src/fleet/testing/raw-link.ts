import { type AgentMessage, Problem, type ServerMessage } from '@virt8ra/contract';
import WebSocket from 'ws';
import type { SimulatedIdentity } from './simulated-identity.js';

type ServerMessageOf<Type extends ServerMessage['type']> = Extract<ServerMessage, { type: Type }>;

/** A link without an agent behind it: for tests that say themselves what is said, and when. */
export interface RawLink {
  send(message: AgentMessage): void;
  sendText(text: string): void;
  all<Type extends ServerMessage['type']>(type: Type): readonly ServerMessageOf<Type>[];
  last<Type extends ServerMessage['type']>(type: Type): ServerMessageOf<Type> | undefined;
  /** The first message of the type, now or when it comes. */
  next<Type extends ServerMessage['type']>(type: Type): Promise<ServerMessageOf<Type>>;
  isOpen(): boolean;
  /** Close code. */
  readonly closed: Promise<number>;
  /** Nothing is read or answered any more, pings neither. */
  freeze(): void;
  close(): void;
}

export interface Hello {
  readonly host?: string;
  readonly bootId?: string;
  readonly generation?: number;
  readonly protocols?: readonly number[];
  readonly features?: readonly string[];
}

/** Connects and says hello as the identity's host, changed by `hello`; `silent`: says nothing. */
export async function openRawLink(url: string, identity: SimulatedIdentity, hello: Hello | 'silent' = {}): Promise<RawLink> {
  const target = new URL('/agent/v1/link', url);
  target.protocol = 'wss:';
  const socket = new WebSocket(target, { ca: identity.ca, cert: identity.certificate, key: identity.privateKey, perMessageDeflate: false });
  const messages: ServerMessage[] = [];
  const watchers = new Set<() => void>();
  let closeCode: number | undefined;
  const wake = (): void => {
    for (const watcher of watchers) watcher();
  };
  socket.on('message', (data) => {
    messages.push(JSON.parse(data.toString()) as ServerMessage);
    wake();
  });
  socket.on('error', () => undefined);
  const closed = new Promise<number>((resolve) => {
    socket.on('close', (code) => {
      closeCode = code;
      wake();
      resolve(code);
    });
  });
  const all = <Type extends ServerMessage['type']>(type: Type): readonly ServerMessageOf<Type>[] =>
    messages.filter((message): message is ServerMessageOf<Type> => message.type === type);
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const sendText = (text: string): void => socket.send(text, () => undefined);
  if (hello !== 'silent') {
    const said = { protocols: [1], host: identity.host, bootId: 'boot', generation: 0, features: [], ...hello };
    sendText(JSON.stringify({ type: 'hello', agentVersion: 'raw', ...said }));
  }
  return {
    send: (message) => sendText(JSON.stringify(message)),
    sendText,
    all,
    last: (type) => all(type).at(-1),
    next: async (type) =>
      await new Promise((resolve, reject) => {
        const look = (): void => {
          const [found] = all(type);
          if (found === undefined && closeCode === undefined) return;
          watchers.delete(look);
          if (found === undefined) reject(new Problem('unavailable', `the link was closed with ${closeCode} before ${type} came`));
          else resolve(found);
        };
        watchers.add(look);
        look();
      }),
    isOpen: () => socket.readyState === WebSocket.OPEN,
    closed,
    freeze: () => socket.pause(),
    close: () => socket.terminate(),
  };
}
