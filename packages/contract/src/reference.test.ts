import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { partsOfScope } from './kind.js';
import { kinds } from './kinds/index.js';
import { Problem } from './problem.js';
import { type Address, addressFromReference, relativePath, urnFromAddress } from './reference.js';

const parameters = { seed: fc.readConfigureGlobal().seed ?? 42, numRuns: 500 };
const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,8}[a-z0-9])?$/);
const kind = fc.constantFrom(...kinds);
const named = fc.tuple(kind, name, name, name, name, name).map(([one, tenant, workspace, network, cluster, own]) => {
  const all: Address = { tenant, workspace, network, cluster, name: own };
  return {
    kind: one,
    address: Object.fromEntries([...partsOfScope[one.scope], 'name' as const].map((part) => [part, all[part]])) as unknown as Address,
  };
});

describe('a reference', () => {
  it('as a full URN leads back to the address it was made from, wherever it stands', () => {
    fc.assert(
      fc.property(named, named, fc.boolean(), ({ kind: one, address }, other, asObject) => {
        const urn = urnFromAddress(one, address);
        expect(addressFromReference(one, asObject ? { resource: urn } : urn, other.address, '/spec/x')).toEqual(address);
      }),
      parameters,
    );
  });

  it('as a short path takes what is missing from the place it stands in', () => {
    fc.assert(
      fc.property(named, ({ kind: one, address }) => {
        const { name: own, ...within } = address;
        expect(addressFromReference(one, `${one.collection}/${own}`, within, '/spec/x')).toEqual(address);
        expect(addressFromReference(one, { resource: relativePath(one, address) }, within, '/spec/x')).toEqual(address);
      }),
      parameters,
    );
  });

  it('names what it is given or is refused with its pointer, whatever the text', () => {
    const segment = fc.oneof(
      name,
      fc.constantFrom('', 'tenants', 'workspaces', 'networks', 'skus', 'v1', 'seca.storage', '..', '__proto__', '\0'),
    );
    const text = fc.oneof(
      fc.array(segment, { maxLength: 9 }).map((segments) => segments.join('/')),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(kind, text, (one, resource) => {
        try {
          const address = addressFromReference(one, resource, { tenant: 't', workspace: 'w', network: 'n' }, '/spec/x');
          expect(Object.keys(address).sort()).toEqual([...partsOfScope[one.scope], 'name'].sort());
          for (const part of Object.values(address)) expect(resource.includes(part) || ['t', 'w', 'n'].includes(part)).toBe(true);
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          expect(error).toMatchObject({ kind: 'validation', sources: [{ pointer: '/spec/x' }] });
        }
      }),
      { ...parameters, numRuns: 3000 },
    );
  });
});
