import { Problem } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import { conditionsIn, documentIn, statusIn } from './profile.js';

describe('the profiles of the API', () => {
  it('answer refusals with the status of the specification, or with 412 and the same code', () => {
    const invalid = new Problem('validation', 'wrong', { sources: [{ pointer: '/spec' }] });
    const conflict = new Problem('conflict', 'in use');
    const absent = new Problem('not-found', 'not there');

    expect([invalid, conflict, absent].map((problem) => statusIn('standard', problem, 'PUT'))).toEqual([422, 409, 404]);
    expect([invalid, conflict, absent].map((problem) => statusIn('conformance', problem, 'PUT'))).toEqual([412, 412, 412]);
    expect([statusIn('conformance', conflict, 'POST'), statusIn('conformance', conflict, 'DELETE')]).toEqual([412, 412]);
    expect(documentIn('conformance', invalid, 'PUT', '/x')).toMatchObject({
      status: 412,
      type: 'http://secapi.cloud/errors/precondition-failed',
      code: 'validation',
      sources: [{ pointer: '/spec' }],
    });
  });

  it('leave what is not found, not allowed or not working as it is', () => {
    for (const method of ['GET', 'DELETE', 'POST']) expect(statusIn('conformance', new Problem('not-found', 'x'), method)).toBe(404);
    for (const kind of ['unauthorized', 'forbidden', 'internal', 'unavailable', 'invalid-request'] as const)
      expect(statusIn('conformance', new Problem(kind, 'x'), 'PUT')).toBe(new Problem(kind, 'x').status);
  });

  it('show the history as it is, or the states alone, with the newest reason and the oldest time of each', () => {
    const history = [
      { state: 'active' as const, lastTransitionAt: '2026-01-01T00:00:04Z', reason: 'Running' },
      { state: 'creating' as const, lastTransitionAt: '2026-01-01T00:00:03Z', reason: 'Placed' },
      { state: 'creating' as const, lastTransitionAt: '2026-01-01T00:00:02Z' },
      { state: 'pending' as const, lastTransitionAt: '2026-01-01T00:00:01Z' },
    ];

    expect(conditionsIn('standard', history)).toEqual(history);
    expect(conditionsIn('conformance', history)).toEqual([
      history[0],
      { state: 'creating', lastTransitionAt: '2026-01-01T00:00:02Z', reason: 'Placed' },
      history[3],
    ]);
  });
});
