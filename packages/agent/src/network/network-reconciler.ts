import { join } from 'node:path';
import { toProblem } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { writeJsonAtomic } from '../disk/atomic-file.js';
import { type Quarantine, readJsonOrQuarantine } from '../disk/quarantine.js';
import { type HostContext, troubleFrom } from '../host-context.js';
import { bridgeName, ensureBridge, releaseBridge } from './bridges.js';

/** Says which networks guests on this host are attached to. */
export interface NetworkUsers {
  usesNetwork(networkKey: string): boolean;
}

/** Makes and removes the host's end of each network. */
export class NetworkReconciler {
  readonly #context: HostContext;
  readonly #users: NetworkUsers;
  readonly #file: string;
  /** Bridges this agent has taken a share in, by network; kept on disk so that none is forgotten. */
  #bridges: Record<string, string>;

  private constructor(context: HostContext, users: NetworkUsers, file: string, bridges: Record<string, string>) {
    this.#context = context;
    this.#users = users;
    this.#file = file;
    this.#bridges = bridges;
  }

  static async open(context: HostContext, users: NetworkUsers, quarantine: Quarantine): Promise<NetworkReconciler> {
    const file = join(context.config.stateDirectory, 'networks.json');
    const read = await readJsonOrQuarantine(file, quarantine);
    return new NetworkReconciler(context, users, file, read.type === 'content' ? (read.content as Record<string, string>) : {});
  }

  keys(): string[] {
    return Object.keys(this.#bridges);
  }

  async pass(key: string): Promise<NextLook> {
    const { board, ledger, networking, controlPlane, agentId } = this.#context;
    const desired = ledger.state.networks.find((network) => network.key === key);
    if (desired === undefined) return await this.#remove(key);
    if (networking.mode === 'user') {
      board.post('network', key, { key, state: 'ready', mode: 'user' });
      return undefined;
    }
    const bridge = bridgeName(controlPlane, desired.vni);
    try {
      const older = this.#bridges[key];
      if (older !== undefined && older !== bridge) await releaseBridge(older, agentId);
      if (older !== bridge) await this.#remember({ ...this.#bridges, [key]: bridge });
      await ensureBridge(bridge, agentId, desired);
      board.post('network', key, { key, state: 'ready', mode: 'bridge', bridge });
    } catch (error) {
      const problem = toProblem(error);
      board.post('network', key, { key, state: 'failed', mode: 'bridge', bridge, problem: troubleFrom(problem) });
      throw problem;
    }
    return undefined;
  }

  async #remove(key: string): Promise<NextLook> {
    const { board, ledger, agentId } = this.#context;
    const bridge = this.#bridges[key];
    if (!ledger.mayRemove({ type: 'network', key })) {
      if (bridge !== undefined) board.post('network', key, { key, state: 'ready', mode: 'bridge', bridge });
      return undefined;
    }
    if (this.#users.usesNetwork(key)) return 2_000;
    if (bridge !== undefined) {
      await releaseBridge(bridge, agentId);
      const { [key]: _, ...others } = this.#bridges;
      await this.#remember(others);
    }
    board.remove({ type: 'network', key });
    return undefined;
  }

  async #remember(bridges: Record<string, string>): Promise<void> {
    await writeJsonAtomic(this.#file, bridges);
    this.#bridges = bridges;
  }
}
