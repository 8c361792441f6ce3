import { type Draft, partsOf } from '@virt8ra/client';
import {
  type Address,
  Annotations,
  Extensions,
  type Kind,
  Labels,
  Name,
  type PlacePart,
  Problem,
  type Resource,
  site,
  Zone,
} from '@virt8ra/contract';
import type { Static, TSchema } from 'typebox';
import { kindFromNoun } from '../noun.js';
import type { DocumentFault, ManifestDocument, RawDocument } from './manifest-document.js';
import { shapeFaults } from './shape-faults.js';

/** Where documents go that do not say so themselves. */
export interface Defaults {
  readonly tenant: string | undefined;
  readonly workspace: string | undefined;
  readonly network: string | undefined;
  readonly cluster: string | undefined;
}

/** Checks every document against its kind's shape. Raises one `validation` that lists every fault with file, line and pointer. */
export function checkDocuments(documents: readonly RawDocument[], defaults: Defaults): readonly ManifestDocument[] {
  const faults: DocumentFault[] = [];
  const checked = documents.flatMap((raw) => {
    const found: DocumentFault[] = [];
    const fault = (pointer: string, message: string) => {
      found.push({ source: raw.source, line: raw.lineOf(pointer), pointer, message });
    };
    const document = checkDocument(raw, defaults, fault);
    faults.push(...found);
    return document === undefined || found.length > 0 ? [] : [document];
  });
  faults.push(...repeatedFaults(checked));
  if (faults.length === 0) return checked;
  const lines = faults.map((each) => `${each.source}:${each.line}: ${each.pointer === '' ? '' : `${each.pointer} `}${each.message}`);
  throw new Problem('validation', [`nothing was changed: ${faults.length} fault${faults.length === 1 ? '' : 's'}`, ...lines].join('\n'));
}

type Report = (pointer: string, message: string) => void;

const known = new Set(['kind', 'apiVersion', 'metadata', 'labels', 'annotations', 'extensions', 'spec', 'status']);

function checkDocument(raw: RawDocument, defaults: Defaults, fault: Report): ManifestDocument | undefined {
  if (typeof raw.value !== 'object' || raw.value === null || Array.isArray(raw.value)) {
    fault('', 'is not a document with kind, metadata and spec');
    return undefined;
  }
  const value = raw.value as Partial<Resource> & { readonly kind?: unknown };
  const metadata = (typeof value.metadata === 'object' && value.metadata !== null ? value.metadata : {}) as Readonly<
    Record<string, unknown>
  >;
  const noun = value.kind ?? metadata['kind'];
  const kind = kindOrFault(noun, fault);
  if (kind === undefined) return undefined;

  for (const key of Object.keys(value)) if (!known.has(key)) fault(`/${key}`, 'is not a part of a document');
  const address = addressOrFault(kind, metadata, defaults, fault);
  checkShape(Labels, value.labels, '/labels', fault);
  checkShape(Annotations, value.annotations, '/annotations', fault);
  checkShape(Extensions, value.extensions, '/extensions', fault);
  if (value.spec !== undefined) checkShape(kind.spec, value.spec, '/spec', fault);
  else if (shapeFaults(kind.spec, {}).length > 0) fault('', 'has no spec');
  if (address === undefined) return undefined;
  const draft: Draft = {
    ...(value.labels === undefined ? {} : { labels: value.labels }),
    ...(value.annotations === undefined ? {} : { annotations: value.annotations }),
    ...(value.extensions === undefined ? {} : { extensions: value.extensions }),
    spec: value.spec ?? {},
  };
  return { raw, kind, address, draft };
}

function kindOrFault(noun: unknown, fault: Report): Kind | undefined {
  if (typeof noun !== 'string') {
    fault('', 'has no kind');
    return undefined;
  }
  try {
    const kind = kindFromNoun(noun);
    if (kind.writable) return kind;
    fault('/kind', `is ${kind.kind}, which the control plane makes itself`);
  } catch (error) {
    fault('/kind', (error as Error).message);
  }
  return undefined;
}

function addressOrFault(kind: Kind, metadata: Readonly<Record<string, unknown>>, defaults: Defaults, fault: Report): Address | undefined {
  const before: Partial<Record<PlacePart, string>> = {};
  let complete = true;
  for (const part of partsOf(kind)) {
    const value = metadata[part] ?? defaults[part];
    if (value === undefined) {
      fault(
        '/metadata',
        `lacks ${part}, and none is given by --${part}${part === 'tenant' || part === 'workspace' ? ', the environment or the context' : ''}`,
      );
      complete = false;
    } else if (checkShape(Name, value, `/metadata/${part}`, fault)) before[part] = value;
    else complete = false;
  }
  const name = metadata['name'];
  if (name === undefined) {
    fault('/metadata', 'lacks name');
    return undefined;
  }
  if (!checkShape(Name, name, '/metadata/name', fault)) return undefined;
  if (kind.kind === site.kind && shapeFaults(Zone, name).length > 0) fault('/metadata/name', 'is longer than the 32 characters of a zone');
  return complete ? { ...before, name } : undefined;
}

/** True when `value` has the shape, or is absent; else its faults are reported. */
function checkShape<Shape extends TSchema>(shape: Shape, value: unknown, pointer: string, fault: Report): value is Static<Shape> {
  const faults = value === undefined ? [] : shapeFaults(shape, value);
  for (const each of faults) fault(`${pointer}${each.pointer}`, each.message);
  return faults.length === 0;
}

function repeatedFaults(documents: readonly ManifestDocument[]): readonly DocumentFault[] {
  const seen = new Map<string, ManifestDocument>();
  return documents.flatMap((document) => {
    const key = JSON.stringify([document.kind.kind, document.address]);
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, document);
      return [];
    }
    const { source } = document.raw;
    const message = `names ${document.kind.kind}/${document.address.name} a second time; first at ${first.raw.source}:${first.raw.lineOf('')}`;
    return [{ source, line: document.raw.lineOf(''), pointer: '', message }];
  });
}
