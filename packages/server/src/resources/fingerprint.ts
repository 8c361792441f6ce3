import { createHash } from 'node:crypto';
import type { StoredResource } from './stored-resource.js';

/** For the audit: what its owner has said, without saying it; specs may hold what must not be in a log. */
export function fingerprint(resource: Pick<StoredResource, 'labels' | 'annotations' | 'extensions' | 'spec' | 'resourceVersion'>): string {
  const said = JSON.stringify([resource.labels, resource.annotations, resource.extensions, resource.spec]);
  return `version ${resource.resourceVersion} sha256 ${createHash('sha256').update(said).digest('hex')}`;
}
