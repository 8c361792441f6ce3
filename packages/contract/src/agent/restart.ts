import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';

const closed = { additionalProperties: false } as const;

/** What a host does when a guest ended without being told to. */
export const restartPolicies = ['always', 'on-failure', 'never'] as const;
export type RestartPolicy = (typeof restartPolicies)[number];

/** Longest time a guest may be given to shut down, seconds. */
export const longestStopSeconds = 3600;

/**
 * `always`: it is started again, also when it switched itself off. `on-failure`: when its process ended by itself or its host was restarted.
 * `never`: it stays off until it is told to start. `limit`: after so many ends within ten minutes it stays off as well.
 */
export const DesiredRestart = Type.Object({ policy: oneOf(restartPolicies), limit: Type.Integer({ minimum: 1, maximum: 10 }) }, closed);
export type DesiredRestart = Static<typeof DesiredRestart>;

/** What holds for an instance that says nothing. */
export const defaultRestart: DesiredRestart = { policy: 'on-failure', limit: 5 };
