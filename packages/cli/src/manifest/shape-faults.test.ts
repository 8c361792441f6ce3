import { imageImport, instance, Labels, migration } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import { shapeFaults } from './shape-faults.js';

describe('faults of a shape', () => {
  const good = { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: 'block-storages/root' } };

  it('are none for what fits', () => {
    expect(shapeFaults(instance.spec, good)).toEqual([]);
  });

  it('name fields that are missing, unknown or of a wrong type', () => {
    expect(shapeFaults(instance.spec, { zone: 'any', bootVolume: {}, cores: 2 })).toEqual(
      expect.arrayContaining([
        { pointer: '', message: 'lacks skuRef' },
        { pointer: '/cores', message: 'is not a known field' },
        { pointer: '/bootVolume', message: 'lacks deviceRef' },
      ]),
    );
    expect(shapeFaults(instance.spec, { ...good, skuRef: 7 })).toEqual([{ pointer: '/skuRef', message: 'must be string or object' }]);
    expect(shapeFaults(instance.spec, { ...good, skuRef: { resource: 7 } })).toEqual([
      { pointer: '/skuRef/resource', message: 'must be string' },
    ]);
  });

  it('name the choices of a closed list', () => {
    const move = { instanceRef: 'instances/a', toSite: 'b', mode: 'hot' };
    expect(shapeFaults(migration.spec, move)).toEqual([{ pointer: '/mode', message: 'must be live or warm or cold' }]);
  });

  it('follow the branch of a union that comes nearest', () => {
    const source = { url: 'https://example.org/disk.qcow2', sha256: 'short' };
    const faults = shapeFaults(imageImport.spec, { source, cpuArchitecture: 'amd64' });
    expect(faults.map((fault) => fault.pointer)).toEqual(['/source/sha256']);
  });

  it('reach into labels', () => {
    expect(shapeFaults(Labels, { env: 5 })).toEqual([{ pointer: '/env', message: 'must be string' }]);
  });
});
