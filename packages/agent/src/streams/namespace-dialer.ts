import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

/** Connections made inside network namespaces of this machine. */
export interface NamespaceDialer {
  /** `namespace` is a path of one. Raises the system's error, ETIMEDOUT included. The socket is paused. */
  dial(namespace: string, to: { readonly host: string; readonly port: number }, timeoutMs: number): Promise<Socket>;
  close(): void;
}

interface Waiting {
  resolve(socket: Socket): void;
  reject(error: Error): void;
}

interface Connector {
  readonly child: ChildProcess;
  readonly waiting: Map<number, Waiting>;
  idle: NodeJS.Timeout | undefined;
}

/** Entry point in the build, also for tests that run from the sources. */
function program(): string {
  const beside = fileURLToPath(new URL('namespace-dial-main.js', import.meta.url));
  return existsSync(beside) ? beside : beside.replace('/src/', '/dist/');
}

/** One helper for each namespace, from its first connection until it was not asked for `idleMs`. */
export function createNamespaceDialer(idleMs = 30_000): NamespaceDialer {
  const connectors = new Map<string, Connector>();
  let next = 1;

  const open = (namespace: string): Connector => {
    const known = connectors.get(namespace);
    if (known !== undefined) return known;
    const child = spawn('nsenter', [`--net=${namespace}`, process.execPath, program()], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      cwd: '/',
    });
    const connector: Connector = { child, waiting: new Map(), idle: undefined };
    const gone = (why: string): void => {
      if (connectors.get(namespace) === connector) connectors.delete(namespace);
      clearTimeout(connector.idle);
      for (const { reject } of connector.waiting.values()) reject(new Error(`the helper in ${namespace} ended: ${why}`));
      connector.waiting.clear();
    };
    child.on('message', (said: { id: number; code?: string }, handle) => {
      const waiting = connector.waiting.get(said.id);
      connector.waiting.delete(said.id);
      const socket = handle as Socket | undefined;
      if (waiting === undefined) socket?.destroy();
      else if (socket === undefined)
        waiting.reject(Object.assign(new Error(said.code ?? 'no connection'), { code: said.code ?? 'ECONNABORTED' }));
      else {
        // What was handed over does not know that it was made to be half-closed.
        socket.allowHalfOpen = true;
        waiting.resolve(socket.pause());
      }
      rest(namespace, connector);
    });
    child.on('error', (error) => gone(error.message));
    child.on('exit', (code, signal) => gone(signal ?? `status ${code}`));
    connectors.set(namespace, connector);
    return connector;
  };
  const rest = (namespace: string, connector: Connector): void => {
    clearTimeout(connector.idle);
    if (connector.waiting.size > 0) return;
    connector.idle = setTimeout(() => {
      connectors.delete(namespace);
      if (connector.child.connected) connector.child.disconnect();
    }, idleMs);
    connector.idle.unref();
  };

  return {
    dial: async (namespace, { host, port }, timeoutMs) =>
      await new Promise((resolve, reject) => {
        const connector = open(namespace);
        clearTimeout(connector.idle);
        const id = next;
        next += 1;
        connector.waiting.set(id, { resolve, reject });
        connector.child.send({ id, host, port, timeoutMs }, (error) => {
          if (error === null) return;
          connector.waiting.delete(id);
          reject(error);
        });
      }),
    close() {
      for (const { child, idle } of connectors.values()) {
        clearTimeout(idle);
        if (child.connected) child.disconnect();
      }
      connectors.clear();
    },
  };
}
