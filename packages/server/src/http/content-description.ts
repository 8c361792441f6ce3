import { type Kind, partsOfScope } from '@virt8ra/contract';
import { collectionPath } from './open-api.js';
import { type ApiDescription, type Json, pathParameter, responsesOf } from './open-api-shapes.js';

const offset = { type: 'integer', minimum: 0 } as const;
const header = (description: string): Json => ({ description, schema: offset });

/** HEAD and PATCH `…/{name}/content` of the kinds that have content. */
export function contentDescriptionOf(kinds: readonly Kind[]): ApiDescription {
  return { paths: Object.fromEntries(kinds.map((kind) => [`${collectionPath(kind)}/{name}/content`, pathItem(kind)])) };
}

function pathItem(kind: Kind): Json {
  const tags = [kind.provider];
  const reached = { 'upload-offset': header('bytes that have arrived') };
  return {
    parameters: [...partsOfScope[kind.scope], 'name'].map(pathParameter),
    head: {
      operationId: `content-of-${kind.kind}`,
      tags,
      summary: 'how far the content came',
      responses: responsesOf(
        { '204': { description: 'How far', headers: { ...reached, 'upload-length': header('bytes that were declared') } } },
        [400, 401, 403, 404, 409, 500],
      ),
    },
    patch: {
      operationId: `append-content-of-${kind.kind}`,
      tags,
      summary: 'more of the content, from where it stands',
      parameters: [{ name: 'upload-offset', in: 'header', required: true, schema: offset, description: 'where this part begins' }],
      requestBody: { required: true, content: { 'application/offset+octet-stream': { schema: { type: 'string', format: 'binary' } } } },
      responses: responsesOf({ '204': { description: 'Kept', headers: reached } }, [400, 401, 403, 404, 409, 413, 500]),
    },
  };
}
