import { Problem } from '@virt8ra/contract';
import type { Answer } from './exchange.js';

/** The JSON of an answer. Raises `internal` for what is none: it came from something else than a control plane. */
export function bodyOf(answer: Answer): unknown {
  try {
    return JSON.parse(answer.text);
  } catch (cause) {
    throw new Problem('internal', 'the server answered with something that is not JSON; is the URL that of a control plane?', { cause });
  }
}
