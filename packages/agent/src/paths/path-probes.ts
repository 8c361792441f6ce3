import { type PathProbeOutcome, probeSeconds, type ServerPathProbe, toProblem } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { Identity } from '../link/identity.js';
import { claimedPorts, freePort } from '../network/free-port.js';
import { dialProbe } from './probe-dialer.js';
import { listenForProbe, type ProbeListener } from './probe-listener.js';

/** Carries out what the control plane orders to be measured, one thing at a time. */
export interface PathProbes {
  order(request: ServerPathProbe): void;
  stop(): Promise<void>;
}

export function createPathProbes({
  context,
  identity,
  tell,
}: {
  readonly context: Pick<HostContext, 'board' | 'config' | 'dataAddress' | 'log'>;
  readonly identity: () => Pick<Identity, 'certificate' | 'privateKey' | 'ca'>;
  readonly tell: (id: string, outcome: PathProbeOutcome) => void;
}): PathProbes {
  const { board, config, dataAddress, log } = context;
  const stopping = new AbortController();
  let listener: ProbeListener | undefined;
  let current: Promise<void> | undefined;

  const moving = (): boolean =>
    board.all('transfer').some(({ state }) => state !== 'finished' && state !== 'aborted' && state !== 'failed');
  /** Answers what is to be told at its end; undefined: the dialler tells what came of it. */
  const carryOut = async ({ id, peerName, dial }: ServerPathProbe): Promise<PathProbeOutcome | undefined> => {
    const waitMs = probeSeconds * 1000;
    if (dial !== undefined) {
      const figures = await dialProbe({ ...dial, peerName, tls: identity(), waitMs, signal: stopping.signal });
      log.info('a path was measured', { peer: peerName, ...figures });
      return { state: 'measured', ...figures };
    }
    const address = dataAddress();
    const port = config.dataPorts === undefined ? 0 : await freePort(address, config.dataPorts, await claimedPorts());
    listener = await listenForProbe({ address, port, tls: identity(), peerName, waitMs });
    if (stopping.signal.aborted) listener.close();
    else tell(id, { state: 'listening', address, port: listener.port });
    await listener.over.catch((error: unknown) =>
      log.info('a path was not measured', { peer: peerName, problem: toProblem(error).message }),
    );
    return undefined;
  };

  return {
    order(request) {
      const { id, peerName } = request;
      if (stopping.signal.aborted) return;
      if (current !== undefined || moving()) {
        const reason = current === undefined ? 'a move is under way on this host' : 'this host measures another path';
        return tell(id, { state: 'busy', reason });
      }
      current = carryOut(request)
        .catch((error: unknown): PathProbeOutcome => {
          const { message } = toProblem(error);
          log.info('a path was not measured', { peer: peerName, problem: message });
          return { state: 'failed', reason: message.slice(0, 1024) };
        })
        .then((outcome) => {
          current = undefined;
          listener = undefined;
          if (outcome !== undefined) tell(id, outcome);
        });
    },
    async stop() {
      stopping.abort();
      listener?.close();
      await current;
    },
  };
}
