import type { Surrender } from '@virt8ra/contract';

/** What simulated hosts of one test share: the network between them, and an eye on the rule that at most one runs an instance. */

export interface SimulatedReceiver {
  /** DNS name the sender must have. */
  readonly peerName: string;
  isReachable(): boolean;
  /** Takes bytes, as far as the simulation goes. */
  take(bytes: number): void;
  /** Of a live move: the instance has a permit that awaits the sender's release. */
  isArmed(): boolean;
  /** Everything arrived; the digests of the disks in order, and in a live move the sender's release. */
  finish(contents: readonly string[], release?: Surrender): void;
}

export interface SimulatedHosts {
  /** The port a receiver listens on. */
  listen(name: string, receiver: SimulatedReceiver): number;
  unlisten(name: string, port: number): void;
  receiver(name: string, port: number, senderName: string): SimulatedReceiver | undefined;
  started(instance: string, host: string): void;
  stopped(instance: string, host: string): void;
  /** Hosts that run the instance now. */
  runningOn(instance: string): readonly string[];
  /** Every time two hosts ran one instance. Tests expect it empty. */
  readonly violations: readonly string[];
}

export function createSimulatedHosts(): SimulatedHosts {
  const receivers = new Map<string, SimulatedReceiver>();
  const running = new Map<string, Set<string>>();
  const violations: string[] = [];
  let nextPort = 20_000;
  return {
    violations,
    listen(name, receiver) {
      nextPort += 1;
      receivers.set(`${name}:${nextPort}`, receiver);
      return nextPort;
    },
    unlisten: (name, port) => void receivers.delete(`${name}:${port}`),
    receiver(name, port, senderName) {
      const receiver = receivers.get(`${name}:${port}`);
      return receiver?.peerName === senderName && receiver.isReachable() ? receiver : undefined;
    },
    started(instance, host) {
      const hosts = running.get(instance) ?? new Set();
      hosts.add(host);
      running.set(instance, hosts);
      if (hosts.size > 1) violations.push(`${instance} runs on ${[...hosts].join(' and ')}`);
    },
    stopped: (instance, host) => void running.get(instance)?.delete(host),
    runningOn: (instance) => [...(running.get(instance) ?? [])],
  };
}
