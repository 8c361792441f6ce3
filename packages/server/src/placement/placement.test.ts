import { describe, expect, it } from 'vitest';
import { type Candidate, explainRefusals, type HostCapacity, type Requirement, rankCandidates } from './placement.js';

const host: Candidate = {
  site: 'alpha',
  host: 'a1',
  connected: true,
  cordon: undefined,
  architecture: 'amd64',
  networking: [],
  firmwares: ['BIOS'],
  capacity: { vCPU: 8, memoryMiB: 8192, storageBytes: 100e9 },
  claimed: { vCPU: 0, memoryMiB: 0, storageBytes: 0 },
};
const need: Requirement = {
  zone: 'any',
  architecture: 'amd64',
  firmware: 'BIOS',
  networking: [],
  vCPU: 2,
  memoryMiB: 2048,
  storageBytes: 10e9,
};

describe('placement', () => {
  it('refuses a host that cannot do for the NICs what they need, and says what would mend it', () => {
    const able: Candidate = { ...host, host: 'a2', networking: ['security-groups', 'routes'] };

    const ranked = rankCandidates([host, able], { ...need, networking: ['routes', 'security-groups'] });

    expect(ranked.map((verdict) => [verdict.host, verdict.fits])).toEqual([
      ['a2', true],
      ['a1', false],
    ]);
    expect(explainRefusals(ranked.slice(1))).toContain('alpha/a1: the host cannot route out of networks (take the route table');
  });

  it('gives PCI devices only where there are equal ones that nobody has, and says what a host lacks', () => {
    const l4 = { vendor: 'nvidia', model: 'L4', ram: 24 } as const;
    const gpus = { need: 'gpu nvidia L4 24', by: 'gpu', ...l4, count: 2 } as const;
    const nvme = { need: 'pci 144d:a80a', by: 'id', id: '144d:a80a', count: 1 } as const;
    const withDevices = (name: string, devices: HostCapacity['devices'], deviceCounts = {}): Candidate => ({
      ...host,
      host: name,
      capacity: { ...host.capacity, ...(devices === undefined ? {} : { devices }) },
      claimed: { ...host.claimed, deviceCounts },
    });
    const able = withDevices('a2', [
      { id: '10de:27b8', gpu: l4, count: 3 },
      { id: '144d:a80a', name: 'Samsung NVMe', count: 1 },
    ]);
    const taken = { ...withDevices('a3', able.capacity.devices, { '10de:27b8': 2 }) };
    const unnamed = withDevices('a4', [{ id: '10de:27b8', count: 4 }]);

    const ranked = rankCandidates([host, able, taken, unnamed], { ...need, devices: [gpus, nvme] });

    expect(ranked[0]).toMatchObject({
      host: 'a2',
      devices: [
        { need: gpus.need, id: '10de:27b8', count: 2 },
        { need: nvme.need, id: '144d:a80a', count: 1 },
      ],
    });
    const said = explainRefusals(ranked.slice(1));
    expect(said).toContain(
      'alpha/a1: the host offers no PCI device to guests, 2 GPUs nvidia L4 of 24 GB needed (offer one with the agent’s --pci-devices ID=L4/24 on a1)',
    );
    expect(said).toContain('alpha/a3: 1 free of 3 of that kind, 2 GPUs nvidia L4 of 24 GB needed (free 1 of them on a3)');
    expect(said).toContain('alpha/a4: the host offers 10de:27b8, 2 GPUs nvidia L4 of 24 GB needed (say which GPU it is with');
    expect(rankCandidates([taken], need)[0]).not.toHaveProperty('devices');
  });

  it('takes dedicated CPUs and huge pages only where there are some, and judges by them only what asks for them', () => {
    const apart: Candidate = { ...host, host: 'a2', capacity: { ...host.capacity, dedicatedCPU: 4, huge2Mi: 1024 } };

    const ranked = rankCandidates([host, apart], { ...need, vCPU: 0, dedicatedCPU: 3 });

    expect(ranked.map((verdict) => [verdict.host, verdict.fits])).toEqual([
      ['a2', true],
      ['a1', false],
    ]);
    expect(ranked[0]?.score).toBeCloseTo(0.25);
    expect(explainRefusals(ranked.slice(1))).toContain(
      '0 dedicated CPUs free of 0 dedicated CPUs, 3 dedicated CPUs needed (set CPUs apart with the agent’s --dedicated-cpus on a1)',
    );
    // More is claimed there than is left apart: of no concern to those who share.
    const shrunk = { ...apart, claimed: { ...apart.claimed, dedicatedCPU: 6 } };
    expect(rankCandidates([shrunk], need)[0]?.fits).toBe(true);
    const full = { ...apart, claimed: { ...apart.claimed, dedicatedCPU: 4, huge2Mi: 1024 } };
    expect(rankCandidates([full], need)[0]?.score).toBeCloseTo(0.75);
    expect(explainRefusals(rankCandidates([full], { ...need, memoryMiB: 0, huge2Mi: 512 }))).toContain(
      '0 MiB in pages of 2 MiB free of 1024 MiB in pages of 2 MiB, 512 MiB in pages of 2 MiB needed',
    );
  });

  it('prefers the host that keeps the larger share of its tightest resource free', () => {
    const busy: Candidate = { ...host, site: 'beta', host: 'b1', claimed: { vCPU: 4, memoryMiB: 0, storageBytes: 0 } };

    const ranked = rankCandidates([busy, host], need);

    expect(ranked.map((verdict) => verdict.host)).toEqual(['a1', 'b1']);
    expect(ranked[0]?.score).toBeCloseTo(0.75);
    expect(ranked[1]?.score).toBeCloseTo(0.25);
  });

  it('gives equal candidates an order that does not depend on input order', () => {
    const twin: Candidate = { ...host, site: 'beta', host: 'b1' };

    expect(rankCandidates([twin, host], need)).toEqual(rankCandidates([host, twin], need));
  });

  it.each([
    { title: 'another zone', candidate: host, requirement: { ...need, zone: 'beta' }, reason: 'the zone asks for beta' },
    { title: 'another host', candidate: host, requirement: { ...need, host: 'a2' }, reason: 'its block storages are on a2' },
    { title: 'a host that is away', candidate: { ...host, connected: false }, requirement: need, reason: 'the host is not connected' },
    { title: 'a cordoned host', candidate: { ...host, cordon: '' }, requirement: need, reason: 'the host is cordoned' },
    {
      title: 'a host cordoned for a reason',
      candidate: { ...host, cordon: 'new fans' },
      requirement: need,
      reason: 'the host is cordoned: new fans',
    },
    {
      title: 'another architecture',
      candidate: host,
      requirement: { ...need, architecture: 'arm64' },
      reason: 'the host is amd64, the image arm64',
    },
    { title: 'another firmware', candidate: host, requirement: { ...need, firmware: 'UEFI' }, reason: 'the host offers BIOS firmware' },
    {
      title: 'a host with another of its anti-affinity group',
      candidate: host,
      requirement: { ...need, apart: { group: 'web', hosts: new Map([['a1', 'web-1']]) } },
      reason: 'the host has instance web-1 of anti-affinity group web',
    },
    {
      title: 'too little memory',
      candidate: host,
      requirement: { ...need, memoryMiB: 8193 },
      reason: '8192 MiB memory free of 8192 MiB memory, 8193 MiB memory needed',
    },
  ])('refuses $title and says why and how to mend it', ({ candidate, requirement, reason }) => {
    const [verdict] = rankCandidates([candidate], requirement);

    expect(verdict).toMatchObject({ fits: false, reason });
    expect(verdict?.mend).toBeTruthy();
    expect(explainRefusals([verdict ?? { site: '', host: '', fits: false, reason: '', score: 0 }])).toContain(reason);
  });

  it('fills a host to the last unit and not beyond', () => {
    const full: Requirement = { ...need, vCPU: 8, memoryMiB: 8192, storageBytes: 100e9 };

    expect(rankCandidates([host], full)[0]?.fits).toBe(true);
    expect(rankCandidates([{ ...host, claimed: { vCPU: 1, memoryMiB: 0, storageBytes: 0 } }], full)[0]?.fits).toBe(false);
  });
});
