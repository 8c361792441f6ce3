import type { Kind } from '@virt8ra/contract';
import { contentDescriptionOf } from './content-description.js';
import { eventDescription } from './event-description.js';
import { fileDescriptionOf } from './file-description.js';
import { identityDescription } from './identity-description.js';
import { openApiOf } from './open-api.js';
import type { ApiDescription, Json } from './open-api-shapes.js';
import { operationDescription } from './operation-description.js';
import { streamDescription } from './stream-description.js';

export interface DescribedApi {
  readonly kinds: readonly Kind[];
  /** Names of kinds with `…/content`. */
  readonly withContent: readonly string[];
  /** Names of kinds with `…/files/…`. */
  readonly withFiles: readonly string[];
  readonly streams: boolean;
  readonly others: readonly ApiDescription[];
}

/** The description of a server with these parts. */
export function describeApi({ kinds, withContent, withFiles, streams, others }: DescribedApi): Json {
  return openApiOf(kinds, [
    operationDescription,
    identityDescription,
    eventDescription,
    contentDescriptionOf(kinds.filter(({ kind }) => withContent.includes(kind))),
    fileDescriptionOf(kinds.filter(({ kind }) => withFiles.includes(kind))),
    ...(streams ? [streamDescription] : []),
    ...others,
  ]);
}
