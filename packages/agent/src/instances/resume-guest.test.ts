import { Problem } from '@virt8ra/contract';
import { beforeEach, expect, it } from 'vitest';
import type { HostContext } from '../host-context.js';
import type { Guest } from '../qemu/guest.js';
import { smallInstance } from '../testing/desired-objects.js';
import type { GuestNetworks } from './guest-networks.js';
import type { InstanceRecord } from './instance-store.js';
import { resumeGuest } from './resume-guest.js';

let done: string[];
let plugged: boolean;
let refusal: Problem | undefined;
beforeEach(() => {
  done = [];
  plugged = false;
  refusal = undefined;
});

const networks = {
  isPlugged: () => plugged,
  plug: async () => {
    done.push('plug');
    if (refusal !== undefined) throw refusal;
  },
} as unknown as GuestNetworks;

async function resume(allowed = true) {
  const context = {
    networking: { mode: 'bridge' },
    permits: {
      judge: () => (allowed ? { ok: true } : { ok: false, reason: 'its permit' }),
      hold: async () => done.push('hold'),
    },
  } as unknown as HostContext;
  const monitor = { run: async (command: string) => done.push(command) };
  const desired = smallInstance('i1', 'v1', { epoch: 1, holder: 'here' });
  return await resumeGuest(context, networks, { desired, guest: { monitor } as unknown as Guest, record: {} as InstanceRecord });
}

it('connects the NICs under their rules before the guest runs, and journals in between', async () => {
  expect(await resume()).toEqual({ ok: true });
  expect(done).toEqual(['plug', 'hold', 'cont', 'announce-self']);
});

it('does not connect again what is connected', async () => {
  plugged = true;
  await resume();
  expect(done).toEqual(['hold', 'cont', 'announce-self']);
});

it('never lets a guest run whose NICs cannot be connected, or whose permit does not allow it', async () => {
  refusal = new Problem('unavailable', 'the kernel does not have what was just made: its rules');
  await expect(resume()).rejects.toBe(refusal);
  expect(done).toEqual(['plug']);
  done = [];
  expect(await resume(false)).toEqual({ ok: false, reason: 'its permit' });
  expect(done).toEqual([]);
});
