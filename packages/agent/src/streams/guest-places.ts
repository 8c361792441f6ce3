import { connect, isIPv4, type Socket } from 'node:net';
import { type DesiredInstance, Problem } from '@virt8ra/contract';
import type { InstanceRecord } from '../instances/instance-store.js';
import type { Guest } from '../qemu/guest.js';
import { connected, connectGuestSocket } from '../system/guest-files.js';
import { runCommand } from '../system/run-command.js';
import type { NamespaceDialer } from './namespace-dialer.js';

const connectMs = 5_000;

/** The screen of a guest. Raises Problem unsupported when it has none, unavailable when QEMU does not answer. */
export async function connectScreen(guest: Guest, desired: DesiredInstance): Promise<Socket> {
  try {
    return await connectGuestSocket(guest.paths.vnc, connectMs);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw refusal('the guest’s screen', error);
    throw new Problem(
      'unsupported',
      desired.architecture === 'amd64'
        ? 'the guest has no graphics: it was started by an agent that gave none; a restart of the instance adds them'
        : `the guest has no graphics: on ${desired.architecture} there is the serial console only`,
    );
  }
}

/** How ports of guests are reached from here. */
export interface PortNetwork {
  readonly mode: 'bridge' | 'user';
  /** Where exposed ports appear in user mode. */
  readonly dataAddress: string;
  /** Where a network is here; undefined: it is not. `namespace`: path of that which the bridge is in, where it is not the host's own. */
  readonly placeOf: (networkKey: string) => { readonly bridge: string; readonly namespace: string | undefined } | undefined;
  readonly dialer: NamespaceDialer;
}

/**
 * A TCP port of a guest: on a bridge by the guest's own addresses, in user-mode networking by the forward that an exposed port has. Raises
 * Problem unsupported where there is no way, unavailable when the guest does not take the connection.
 */
export async function connectPort(
  network: PortNetwork,
  desired: DesiredInstance,
  record: InstanceRecord | undefined,
  port: number,
): Promise<Socket> {
  const failed = (error: unknown): never => {
    throw refusal(`port ${port} of the guest`, error);
  };
  if (network.mode === 'bridge') return await dialOnBridge(network, desired, port).catch(failed);
  const forward = record?.forwards.find((entry) => entry.port === port);
  if (forward !== undefined) return await dial({ host: network.dataAddress, port: forward.hostPort }).catch(failed);
  throw new Problem(
    'unsupported',
    `its host has user-mode networking, where only exposed ports are reached: add ${port} to the instance’s extension virt8ra.access and restart it`,
  );
}

async function dialOnBridge({ placeOf, dialer }: PortNetwork, { nics }: DesiredInstance, port: number): Promise<Socket> {
  const places = nics.flatMap(({ addresses, networkKey }) =>
    addresses.map((cidr) => ({ host: cidr.slice(0, cidr.indexOf('/')), place: placeOf(networkKey) })),
  );
  let failure: unknown = new Problem('unsupported', 'the instance has no network address');
  for (const { host, place } of [...places.filter(({ host }) => isIPv4(host)), ...places.filter(({ host }) => !isIPv4(host))]) {
    try {
      await assertRoute(host, place);
      if (place?.namespace === undefined) return await dial({ host, port });
      return await dialer.dial(place.namespace, { host, port }, connectMs);
    } catch (error) {
      failure = error;
      // It was there and said no: its other addresses would say the same.
      if (codeOf(error) === 'ECONNREFUSED') break;
    }
  }
  throw failure;
}

/** Tenants choose their addresses: one that the host itself has or reaches otherwise must not lead to the host's own surroundings. */
async function assertRoute(address: string, place: ReturnType<PortNetwork['placeOf']>): Promise<void> {
  const [command = '', ...words] = [
    ...(place?.namespace === undefined ? [] : ['nsenter', `--net=${place.namespace}`]),
    ...['ip', '-j', 'route', 'get', address],
  ];
  const text = await runCommand(command, words).catch(() => '[]');
  const [route] = JSON.parse(text) as { readonly dev?: string; readonly type?: string }[];
  if (place !== undefined && route?.dev === place.bridge && route.type !== 'local') return;
  throw new Problem('unsupported', `the host has no way to ${address} in the instance’s own network`);
}

async function dial(to: { readonly host: string; readonly port: number }): Promise<Socket> {
  const socket = await connected(connect({ ...to, allowHalfOpen: true }), connectMs);
  return socket.setNoDelay(true).setKeepAlive(true, 15_000);
}

function codeOf(error: unknown): string {
  return String((error as NodeJS.ErrnoException | undefined)?.code ?? '');
}

function refusal(what: string, error: unknown): Problem {
  if (error instanceof Problem) return error;
  const code = codeOf(error);
  const why =
    code === 'ECONNREFUSED' ? 'nothing listens there' : code === 'ETIMEDOUT' ? `no answer within ${connectMs / 1000} s` : String(error);
  return new Problem('unavailable', `${what} cannot be reached: ${why}`, { cause: error });
}
