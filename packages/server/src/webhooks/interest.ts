import {
  addressFromReference,
  type EventType,
  eventTypes,
  type Kind,
  Problem,
  toProblem,
  type WebhookSpec,
  workspace,
} from '@virt8ra/contract';
import type { FeedEntry } from '../resources/feed.js';
import { matchesSelector, parseSelector } from '../resources/label-selector.js';

/** Which changes a webhook wants, whatever its owner may read. */
export interface Interest {
  readonly tenant: string;
  readonly kinds: readonly string[] | undefined;
  readonly types: readonly EventType[];
  wants(entry: FeedEntry): boolean;
}

/** Progress comes every second of long work; whoever wants that says so. */
const usualTypes = eventTypes.filter((type) => type !== 'progress');

/** Raises `validation` for a selector that is none. */
export function interestOf(tenant: string, spec: WebhookSpec, kinds: ReadonlyMap<string, Kind>): Interest {
  const types = spec.types ?? usualTypes;
  const selector = selectorOf(spec.labels ?? '');
  return {
    tenant,
    kinds: spec.kinds,
    types,
    wants(entry) {
      if (entry.tenant !== undefined && entry.tenant !== tenant) return false;
      if (!types.includes(entry.type) || (spec.kinds !== undefined && !spec.kinds.includes(entry.kind))) return false;
      if (spec.workspaces !== undefined && !spec.workspaces.includes(workspaceOf(entry, kinds) ?? '')) return false;
      return matchesSelector(selector, entry.labels) || (entry.leftLabels !== undefined && matchesSelector(selector, entry.leftLabels));
    },
  };
}

function selectorOf(text: string): ReturnType<typeof parseSelector> {
  try {
    return parseSelector(text);
  } catch (error) {
    throw new Problem('validation', toProblem(error).message, { sources: [{ pointer: '/spec/labels' }] });
  }
}

function workspaceOf(entry: FeedEntry, kinds: ReadonlyMap<string, Kind>): string | undefined {
  const kind = kinds.get(entry.kind);
  if (kind === undefined) return undefined;
  const address = addressFromReference(kind, entry.ref, {}, 'ref');
  return kind.kind === workspace.kind ? address.name : address.workspace;
}
