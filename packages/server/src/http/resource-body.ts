import { type Address, Annotations, Extensions, type Kind, Labels, Problem } from '@virt8ra/contract';
import { createShapeCheck, type Fault, type ShapeCheck } from './shape-check.js';

/** What an owner says of a resource. */
export interface ResourceBody {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly extensions: Readonly<Record<string, string>>;
  readonly spec: unknown;
}

export type ParseResourceBody = (body: unknown, address: Address) => ResourceBody;

/** `apiVersion` and `kind` are what people write into files; SECA clients send neither. */
const members = new Set(['labels', 'annotations', 'extensions', 'metadata', 'spec', 'status', 'apiVersion', 'kind']);

/** What the selector's grammar could not name. */
const labelKeyPattern = /^[^,=!<>*\s]{1,63}$/u;
const otherKeyPattern = /^[^\s]{1,128}$/u;

/**
 * Reads the body of a PUT: labels, annotations, extensions and spec. Status and metadata are the server's and ignored, as SECA clients send
 * dummies; only a region or name that contradicts the path is refused. Raises `validation` with every fault, `invalid-request` without a body.
 */
export function createResourceBodyParser(kind: Kind, region: string): ParseResourceBody {
  const checkSpec = createShapeCheck(kind.spec);
  const maps = {
    labels: { check: createShapeCheck(Labels), key: labelKeyPattern },
    annotations: { check: createShapeCheck(Annotations), key: otherKeyPattern },
    extensions: { check: createShapeCheck(Extensions), key: otherKeyPattern },
  };

  return (body, address) => {
    if (body === undefined) throw new Problem('invalid-request', 'the body is empty; a JSON object with a spec is needed');
    if (!isObject(body)) throw new Problem('validation', 'the body must be a JSON object with a spec', { sources: [{ pointer: '' }] });
    const faults: Fault[] = [];
    for (const name of Object.keys(body)) {
      if (!members.has(name))
        faults.push({ pointer: `/${name}`, message: 'is not known here; labels, annotations, extensions and spec are' });
    }
    const map = (name: keyof typeof maps): Readonly<Record<string, string>> => {
      const value = body[name] ?? {};
      const found = faultsOfMap(value, `/${name}`, maps[name].check, maps[name].key);
      faults.push(...found);
      return found.length === 0 ? (value as Readonly<Record<string, string>>) : {};
    };
    const spec = body['spec'] ?? {};
    const parsed = { labels: map('labels'), annotations: map('annotations'), extensions: map('extensions'), spec };
    faults.push(...checkSpec(spec, '/spec'), ...faultsOfMetadata(body['metadata'], kind, address, region));
    if (body['kind'] !== undefined && body['kind'] !== kind.kind) {
      faults.push({ pointer: '/kind', message: `must be ${kind.kind}, as the path says` });
    }
    if (faults.length > 0) throw problemOfFaults(faults);
    return parsed;
  };
}

export function problemOfFaults(faults: readonly Fault[]): Problem {
  const message = faults.map((fault) => `${fault.pointer || 'the body'} ${fault.message}`).join('; ');
  return new Problem('validation', message, { sources: faults.map(({ pointer }) => ({ pointer })) });
}

function faultsOfMap(value: unknown, pointer: string, check: ShapeCheck, key: RegExp): readonly Fault[] {
  const faults = check(value, pointer);
  if (faults.length > 0 || !isObject(value)) return faults;
  return Object.keys(value)
    .filter((name) => !key.test(name))
    .map((name) => ({ pointer, message: `has the key ${JSON.stringify(name.slice(0, 80))}, which must match ${key.source}` }));
}

function faultsOfMetadata(metadata: unknown, kind: Kind, address: Address, region: string): readonly Fault[] {
  if (!isObject(metadata)) return [];
  const faults: Fault[] = [];
  const { name, region: given } = metadata;
  if (typeof name === 'string' && name !== '' && name !== address.name) {
    faults.push({ pointer: '/metadata/name', message: `must be ${address.name}, as the path says, or absent` });
  }
  if (kind.regional && typeof given === 'string' && given !== '' && given !== region) {
    faults.push({ pointer: '/metadata/region', message: `must be ${region}, the region this server runs, or absent` });
  }
  return faults;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
