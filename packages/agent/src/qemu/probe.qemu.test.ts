import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand } from '../system/run-command.js';
import { type Hypervisor, probeHypervisor, runProbeGuest } from './probe.js';

const qemu = await hasCommand('qemu-system-x86_64');
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 is not installed\n');
const root = process.getuid?.() === 0;

describe.skipIf(!qemu)('the hypervisor probe', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'v8h-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('has a guest that ends with its own status where an accelerator works', async () => {
    expect(await runProbeGuest('tcg', root)).toEqual({ usable: true, reason: 'a probe guest ran under TCG' });
  });

  it('finds versioned machines and models only, and keeps the answer for this boot', async () => {
    const file = join(folder, 'hypervisor.json');
    const found = await probeHypervisor(file, 'boot-1', root);
    expect(found.machines[0]).toMatch(/^pc-q35-\d/);
    expect(found.cpuModels).toContain('qemu64-v1');
    expect(found.cpuModels.every((model) => /-v\d+$/.test(model))).toBe(true);
    const cached = JSON.parse(readFileSync(file, 'utf8')) as { hypervisor: Hypervisor };
    writeFileSync(file, JSON.stringify({ ...cached, hypervisor: { ...cached.hypervisor, reason: 'from the cache' } }));
    expect((await probeHypervisor(file, 'boot-1', root)).reason).toBe('from the cache');
    expect((await probeHypervisor(file, 'boot-2', root)).reason).toBe(found.reason);
  });
});
