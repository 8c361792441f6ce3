import { type Kind, partsOfScope } from '@virt8ra/contract';
import { collectionPath } from './open-api.js';
import { type ApiDescription, type Json, pathParameter, responsesOf, text } from './open-api-shapes.js';

/** GET and HEAD `…/{name}/files/{file}` of the kinds that have files. */
export function fileDescriptionOf(kinds: readonly Kind[]): ApiDescription {
  return { paths: Object.fromEntries(kinds.map((kind) => [`${collectionPath(kind)}/{name}/files/{file}`, pathItem(kind)])) };
}

function pathItem(kind: Kind): Json {
  const tags = [kind.provider];
  const headers = { etag: { description: 'its sha256', schema: text }, 'accept-ranges': { description: 'bytes', schema: text } };
  const octets = { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } };
  return {
    parameters: [
      ...[...partsOfScope[kind.scope], 'name'].map(pathParameter),
      { name: 'file', in: 'path', required: true, schema: text, description: 'as the status names it' },
    ],
    head: {
      operationId: `file-of-${kind.kind}`,
      tags,
      summary: 'length and digest of a file of it',
      responses: responsesOf({ '200': { description: 'The file', headers } }, [400, 401, 403, 404, 409, 500]),
    },
    get: {
      operationId: `read-file-of-${kind.kind}`,
      tags,
      summary: 'a file of it, or a part of one; needs leave to post.read',
      parameters: [
        { name: 'range', in: 'header', schema: text, description: 'one range of bytes, such as bytes=1048576-' },
        { name: 'if-range', in: 'header', schema: text, description: 'the range counts for this digest only' },
      ],
      responses: responsesOf(
        { '200': { description: 'All of it', headers, content: octets }, '206': { description: 'The part', headers, content: octets } },
        [400, 401, 403, 404, 409, 500, 503],
      ),
    },
  };
}
