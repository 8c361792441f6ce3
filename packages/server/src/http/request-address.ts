import {
  type Address,
  addressFromReference,
  type Kind,
  kubernetesCluster,
  namePattern,
  network,
  type PlacePart,
  Problem,
  partsOfScope,
  workspace,
} from '@virt8ra/contract';
import type { Subject } from '../kinds/behaviour.js';
import { isStorableText } from '../resources/storable-text.js';

export type PathParameters = Readonly<Record<string, string | undefined>>;

/** What a part of a place is, where it is a resource itself. */
export const kindOfPart: Readonly<Partial<Record<PlacePart, Kind>>> = { workspace, network, cluster: kubernetesCluster };

const legalName = new RegExp(namePattern);
/** Provider and version, which no name can hold. */
const urnStart = /^[^/]+\.[^/]+\/v\d[^/]*\//;
/** Names of SKUs may be upper case; no more is needed for looking up. */
const lookupName = /^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/;
const longestName: Readonly<Record<PlacePart | 'name', number>> = { name: 128, tenant: 64, workspace: 64, network: 64, cluster: 64 };

/** Path of a kind's collection, with `:tenant` and so on for its parents. */
export function collectionRoute(kind: Kind): string {
  const parents = partsOfScope[kind.scope].map((part) => `/${part}s/:${part}`).join('');
  return `/providers/${kind.provider}/${kind.version}${parents}/${kind.collection}`;
}

/** The collection a request is about. Raises `not-found` for a parent that cannot exist. */
export function placeOfRequest(kind: Kind, parameters: PathParameters): Omit<Address, 'name'> {
  const named = namesInPath(kind, parameters);
  const place: Partial<Record<PlacePart, string>> = {};
  for (const part of partsOfScope[kind.scope]) place[part] = lookupPart(part, named[part]);
  return place;
}

/** The resource a request is about. Raises `not-found` for a name that cannot exist. */
export function addressOfRequest(kind: Kind, parameters: PathParameters): Address {
  return { ...placeOfRequest(kind, parameters), name: lookupPart('name', namesInPath(kind, parameters)['name']) };
}

/**
 * A parameter that arrives as a URN with its slashes encoded, as clients send who keep nothing but `metadata.ref`, stands for the name at its
 * end. Raises `validation` for one of another kind or one that lies elsewhere than the path says.
 */
export function namesInPath(kind: Kind, parameters: PathParameters): PathParameters {
  const names: Record<string, string | undefined> = { ...parameters };
  const place: Partial<Record<PlacePart, string>> = {};
  for (const part of [...partsOfScope[kind.scope], 'name' as const]) {
    const value = names[part];
    const of = part === 'name' ? kind : kindOfPart[part];
    if (value !== undefined && of !== undefined && urnStart.test(value)) names[part] = nameFromUrn(of, value, place, part);
    if (part !== 'name') place[part] = names[part] ?? '';
  }
  return names;
}

function nameFromUrn(kind: Kind, urn: string, place: Omit<Address, 'name'>, parameter: string): string {
  const sources = [{ parameter }];
  const named = addressFrom(kind, urn, place, sources);
  const elsewhere = partsOfScope[kind.scope].find((part) => named[part] !== place[part]);
  if (elsewhere === undefined) return named.name;
  throw new Problem(
    'validation',
    `${JSON.stringify(urn.slice(0, 300))} is of another ${elsewhere} than the path says; send its name alone`,
    {
      sources,
    },
  );
}

function addressFrom(kind: Kind, urn: string, place: Omit<Address, 'name'>, sources: readonly { readonly parameter: string }[]): Address {
  try {
    return addressFromReference(kind, urn.slice(0, 512), place, '');
  } catch (thrown) {
    if (thrown instanceof Problem) throw new Problem(thrown.kind, thrown.message, { sources, cause: thrown });
    throw thrown;
  }
}

/** The same for a resource that may be made. Raises `validation` that names each parameter at fault. */
export function addressToWrite(kind: Kind, parameters: PathParameters): Address {
  const named = namesInPath(kind, parameters);
  const faults = [...partsOfScope[kind.scope], 'name' as const].filter((part) => {
    const value = named[part] ?? '';
    return value.length > longestName[part] || !legalName.test(value);
  });
  if (faults.length > 0) {
    const list = faults.map((part) => `the ${part} ${JSON.stringify((named[part] ?? '').slice(0, 150))}`).join(' and ');
    throw new Problem('validation', `${list} must match ${namePattern} and have at most ${longestName[faults[0] ?? 'name']} characters`, {
      sources: faults.map((parameter) => ({ parameter })),
    });
  }
  return addressOfRequest(kind, parameters);
}

function lookupPart(part: PlacePart | 'name', value = ''): string {
  if (value.length <= longestName[part] && lookupName.test(value)) return value;
  throw illegalPart(part, value);
}

function illegalPart(part: string, value: string): Problem {
  return new Problem('not-found', `${JSON.stringify(value.slice(0, 150))} is not a legal ${part}, so that nothing of it exists`, {
    sources: [{ parameter: part }],
  });
}

/** For whatever a path names, also where a route reads it by itself. Raises `not-found` for what no database can hold, and so nothing is called. */
export function assertStorableParts(parameters: PathParameters): void {
  for (const [part, value = ''] of Object.entries(parameters)) if (!isStorableText(value)) throw illegalPart(part, value);
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
