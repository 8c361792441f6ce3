import { describe, expect, it } from 'vitest';
import { guestCare } from './guest-care.js';

describe('the care a host takes of a guest', () => {
  it('is what the extensions say, and the default where they say nothing', () => {
    expect(guestCare(undefined)).toEqual({});
    expect(guestCare({ 'virt8ra.restart': 'always' })).toEqual({ restart: { policy: 'always', limit: 5 } });
    expect(guestCare({ 'virt8ra.restart': 'on-failure:3' })).toEqual({ restart: { policy: 'on-failure', limit: 3 } });
    expect(guestCare({ 'virt8ra.restart': 'never', 'virt8ra.stop-seconds': '0' })).toEqual({
      restart: { policy: 'never', limit: 5 },
      stopSeconds: 0,
    });
  });

  it.each(['', 'sometimes', 'always:', 'always:0', 'always:11', 'never:3', 'on-failure:1.5', 'on-failure:-1', 'ALWAYS'])(
    'is not %j: refused with the pointer',
    (text) => {
      expect(() => guestCare({ 'virt8ra.restart': text })).toThrow(
        expect.objectContaining({ kind: 'validation', sources: [{ pointer: '/extensions/virt8ra.restart' }] }),
      );
    },
  );

  it.each(['', '-1', '1.5', '3601', 'soon', '1e3'])('waits no %j seconds for a stop: refused with the pointer', (text) => {
    expect(() => guestCare({ 'virt8ra.stop-seconds': text })).toThrow(
      expect.objectContaining({ kind: 'validation', sources: [{ pointer: '/extensions/virt8ra.stop-seconds' }] }),
    );
  });
});
