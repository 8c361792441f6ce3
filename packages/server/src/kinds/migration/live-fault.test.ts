import type { HostInventory } from '@virt8ra/contract';
import type { HostObservation } from '@virt8ra/driver';
import { expect, it } from 'vitest';
import { type LiveQuestion, liveFault } from './live-fault.js';

type Change = Partial<HostInventory['hypervisor']> & { readonly mode?: 'bridge' | 'user'; readonly features?: readonly string[] };

function host(name: string, { mode = 'bridge', features = ['live'], ...hypervisor }: Change = {}): HostObservation {
  const inventory = {
    hypervisor: {
      qemuVersion: '7.2.22',
      accelerator: 'tcg',
      reason: '',
      machines: ['pc-q35-7.2'],
      cpuModels: ['Westmere-v1'],
      ...hypervisor,
    },
    network: { mode, reason: '' },
  } as unknown as HostInventory;
  return { host: name, connected: true, networking: [], observedAt: '2026-01-01T00:00:00.000Z', inventory, features };
}

function ask(target: Change = {}, source: Change = {}, change: Partial<LiveQuestion> = {}): string | undefined {
  const status = { machine: 'pc-q35-7.2', cpuModel: 'Westmere-v1', accelerator: 'tcg' };
  return liveFault({ parts: { firmware: 'BIOS' }, status, source: host('alpha', source), target: host('beta', target), ...change });
}

it('lets a guest go live to a host that is like its own, or newer', () => {
  expect(ask()).toBeUndefined();
  expect(ask({ qemuVersion: '10.0.2', machines: ['pc-q35-10.0', 'pc-q35-7.2'] })).toBeUndefined();
});

it('says what is in the way', () => {
  expect(ask({ features: [] })).toContain('agent of host beta');
  expect(ask({}, { features: [] })).toContain('agent of host alpha');
  expect(ask({ accelerator: 'kvm' })).toContain('under tcg and host beta has kvm');
  expect(ask({ machines: ['pc-q35-6.0'] })).toContain('machine type pc-q35-7.2');
  expect(ask({ cpuModels: ['qemu64-v1'] })).toContain('CPU model Westmere-v1');
  expect(ask({ qemuVersion: '7.2.3' })).toContain('older (7.2.3)');
  expect(ask({ mode: 'user' })).toContain('networks differently');
  expect(ask({}, {}, { parts: { firmware: 'UEFI' } })).toContain('UEFI');
  const started = { machine: 'pc-q35-7.2', cpuModel: 'Westmere-v1', accelerator: 'tcg' };
  expect(ask({}, {}, { status: { ...started, pciDevices: ['10de:27b8'] } })).toContain('PCI devices of its host');
  const devices = [{ need: 'pci 144d:a80a', by: 'id', id: '144d:a80a', count: 1 }] as const;
  expect(ask({}, {}, { parts: { firmware: 'BIOS', size: { devices } } })).toContain('warm or cold');
  expect(ask({}, {}, { status: {} })).toContain('not known yet');
  expect(ask({}, {}, { target: undefined })).toContain('has not told');
});
