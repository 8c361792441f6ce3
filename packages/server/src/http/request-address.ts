import { type Address, type Kind, namePattern, Problem } from '@virt8ra/contract';
import type { Subject } from '../kinds/behaviour.js';

type Part = 'tenant' | 'workspace' | 'network';
export type PathParameters = Readonly<Record<string, string | undefined>>;

export const partsOfScope: Readonly<Record<Kind['scope'], readonly Part[]>> = {
  global: [],
  tenant: ['tenant'],
  workspace: ['tenant', 'workspace'],
  network: ['tenant', 'workspace', 'network'],
};

const legalName = new RegExp(namePattern);
/** Names of SKUs may be upper case; no more is needed for looking up. */
const lookupName = /^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/;
const longestName: Readonly<Record<Part | 'name', number>> = { name: 128, tenant: 64, workspace: 64, network: 64 };

/** Path of a kind's collection, with `:tenant` and so on for its parents. */
export function collectionRoute(kind: Kind): string {
  const parents = partsOfScope[kind.scope].map((part) => `/${part}s/:${part}`).join('');
  return `/providers/${kind.provider}/${kind.version}${parents}/${kind.collection}`;
}

/** The collection a request is about. Raises `not-found` for a parent that cannot exist. */
export function placeOfRequest(kind: Kind, parameters: PathParameters): Omit<Address, 'name'> {
  const place: { tenant?: string; workspace?: string; network?: string } = {};
  for (const part of partsOfScope[kind.scope]) place[part] = lookupPart(part, parameters[part]);
  return place;
}

/** The resource a request is about. Raises `not-found` for a name that cannot exist. */
export function addressOfRequest(kind: Kind, parameters: PathParameters): Address {
  return { ...placeOfRequest(kind, parameters), name: lookupPart('name', parameters['name']) };
}

/** The same for a resource that may be made. Raises `validation` that names each parameter at fault. */
export function addressToWrite(kind: Kind, parameters: PathParameters): Address {
  const faults = [...partsOfScope[kind.scope], 'name' as const].filter((part) => {
    const value = parameters[part] ?? '';
    return value.length > longestName[part] || !legalName.test(value);
  });
  if (faults.length > 0) {
    const list = faults.map((part) => `the ${part} ${JSON.stringify((parameters[part] ?? '').slice(0, 150))}`).join(' and ');
    throw new Problem('validation', `${list} must match ${namePattern} and have at most ${longestName[faults[0] ?? 'name']} characters`, {
      sources: faults.map((parameter) => ({ parameter })),
    });
  }
  return addressOfRequest(kind, parameters);
}

function lookupPart(part: Part | 'name', value = ''): string {
  if (value.length <= longestName[part] && lookupName.test(value)) return value;
  throw new Problem('not-found', `${JSON.stringify(value.slice(0, 150))} is not a legal ${part}, so that nothing of it exists`, {
    sources: [{ parameter: part }],
  });
}

/** Raises `forbidden` when the subject has no business with the tenant. Says the same whether it exists or not. */
export function assertTenant(subject: Subject, tenant: string | undefined): void {
  if (tenant === undefined || subject.tenants === 'all' || subject.tenants.includes(tenant)) return;
  throw new Problem('forbidden', `${subject.name} may not use tenant ${tenant.slice(0, 64)}`);
}

/** What has no tenant is the operator's to change, and everybody's to read. */
export function assertMayChange(subject: Subject, kind: Kind): void {
  if (kind.scope !== 'global' || subject.operator) return;
  throw new Problem('forbidden', `only the operator of this control plane may change a ${kind.kind}`);
}
