import { type InstanceActivity, Problem } from '@virt8ra/contract';
import type { Server } from './schema.js';

/** What a server's states mean together. `settled`: nothing is under way that the cloud will end by itself. */
export interface ServerReading {
  readonly activity: InstanceActivity;
  readonly settled: boolean;
  readonly waitingFor?: string;
  readonly rescued?: boolean;
  readonly trouble?: { readonly code: string; readonly message: string };
  /** Absent: it is not broken. */
  readonly problem?: Problem;
}

/** `power_state` of compute: what the hypervisor said last. */
const power = { none: 0, running: 1, paused: 3, shutDown: 4, crashed: 6, suspended: 7 } as const;

/** Undefined: it is there no more. Whatever is not known here is raised as `unavailable`: it is no state that we could truly tell. */
export function readServer(server: Server): ServerReading | undefined {
  const task = server['OS-EXT-STS:task_state'] ?? undefined;
  const byTask = task === undefined ? undefined : readTask(task, server);
  switch (server.status) {
    case 'DELETED':
      return undefined;
    case 'SOFT_DELETED':
      return { activity: 'stopped', settled: false, waitingFor: 'the cloud keeps deleted servers for a while' };
    case 'ERROR':
      return { activity: atRest(server), settled: true, problem: faultOf(server) };
    case 'UNKNOWN':
      throw new Problem('unavailable', 'the cloud itself does not know the state of the server');
    case 'BUILD':
      return { activity: 'starting', settled: false, waitingFor: task === undefined ? 'it is being built' : `it is being built (${task})` };
    case 'REBUILD':
    case 'REBOOT':
    case 'HARD_REBOOT':
      return { activity: 'starting', settled: false, waitingFor: server.status.toLowerCase() };
    case 'VERIFY_RESIZE':
      return byTask ?? { activity: atRest(server), settled: false, waitingFor: 'its resize has to be confirmed or reverted by hand' };
    case 'RESIZE':
    case 'REVERT_RESIZE':
    case 'MIGRATING':
    case 'PASSWORD':
      return byTask ?? { activity: atRest(server), settled: false, waitingFor: server.status.toLowerCase() };
    case 'RESCUE':
      return byTask ?? { activity: atRest(server), settled: true, rescued: true };
    case 'SHELVED':
    case 'SHELVED_OFFLOADED':
      return (
        byTask ?? { activity: 'stopped', settled: true, trouble: { code: 'conflict', message: 'it is shelved; unshelve it to start it' } }
      );
    case 'ACTIVE':
    case 'SHUTOFF':
    case 'PAUSED':
    case 'SUSPENDED':
      return byTask ?? { activity: atRest(server), settled: server['OS-EXT-STS:power_state'] !== power.none || server.status !== 'ACTIVE' };
    default:
      throw new Problem('unavailable', `the cloud told the state ${server.status}, which this driver does not know`);
  }
}

/** Where the hypervisor says something else than the record, it is right: a guest that shut itself down is off before the record is. */
function atRest(server: Server): InstanceActivity {
  switch (server['OS-EXT-STS:power_state']) {
    case power.running:
      return server.status === 'SHUTOFF' ? 'stopping' : 'running';
    case power.paused:
    case power.suspended:
      return 'paused';
    case power.shutDown:
      return server.status === 'SUSPENDED' ? 'paused' : 'stopped';
    case power.crashed:
      return 'crashed';
    case power.none:
    case undefined:
      break;
    default:
      return 'unknown';
  }
  // The hypervisor was not asked yet, or the cloud does not show it.
  if (server.status === 'SHUTOFF') return 'stopped';
  if (server.status === 'PAUSED' || server.status === 'SUSPENDED') return 'paused';
  return server['OS-EXT-STS:power_state'] === undefined && server.status === 'ACTIVE' ? 'running' : 'unknown';
}

const stopping = [
  'powering-off',
  'deleting',
  'soft-deleting',
  'suspending',
  'shelving',
  'shelving_offloading',
  'shelving_image_pending_upload',
  'shelving_image_uploading',
];
const starting = [
  'powering-on',
  'resuming',
  'unpausing',
  'unshelving',
  'spawning',
  'scheduling',
  'networking',
  'block_device_mapping',
  'restoring',
];
/** The guest goes on meanwhile, and the server is as it is. */
const besides = [
  'image_snapshot',
  'image_snapshot_pending',
  'image_pending_upload',
  'image_uploading',
  'image_backup',
  'updating_password',
];

function readTask(task: string, server: Server): ServerReading {
  if (besides.includes(task)) return { activity: atRest(server), settled: true, waitingFor: 'an image of it is being made' };
  if (stopping.includes(task)) return { activity: 'stopping', settled: false, waitingFor: task };
  if (starting.includes(task) || task.startsWith('reboot') || task.startsWith('rebuild'))
    return { activity: 'starting', settled: false, waitingFor: task };
  return { activity: atRest(server), settled: false, waitingFor: task };
}

function faultOf({ fault, id }: Server): Problem {
  const message = fault?.message ?? 'the cloud does not say why';
  const kind = /no valid host|quota|exceeded|exhausted/i.test(message) ? 'exhausted' : 'conflict';
  return new Problem(kind, `the server is in error: ${message}`, {
    facts: { server: id, ...(fault?.code === undefined ? {} : { code: fault.code }) },
  });
}
