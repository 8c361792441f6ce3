import type { Readable } from 'node:stream';
import { Problem } from '@virt8ra/contract/plain';
import type { ArtifactSource } from '../storage/image-download.js';
import { exchange } from './exchange.js';
import type { Identity } from './identity.js';

/** Artifacts of the control plane, over mutual TLS. */
export function artifactSource(identity: () => Pick<Identity, 'server' | 'ca' | 'certificate' | 'privateKey'>): ArtifactSource {
  return {
    open: async (sha256, offset, signal): Promise<Readable> => {
      const self = identity();
      const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
      const response = await exchange(new URL(`/agent/v1/artifacts/${sha256}`, self.server), self, { method: 'GET', headers, signal });
      if (offset > 0 && (response.statusCode !== 206 || response.headers['content-range']?.startsWith(`bytes ${offset}-`) !== true)) {
        response.destroy();
        throw new Problem('internal', 'the control plane does not continue the download where it was cut');
      }
      return response;
    },
  };
}
