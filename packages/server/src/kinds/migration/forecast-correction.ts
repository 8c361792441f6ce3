import type { MoveForecast } from '@virt8ra/contract';
import type { EarlierMove } from '../move-measures.js';

const mostMoves = 8;
/** No single move counts for more than this, and no correction is more. */
const [mostOfOne, mostOfAll] = [4, 2];

/**
 * What earlier moves of this mode between the same hosts took, as multiples of what was forecast for them before any correction: the geometric mean,
 * drawn towards 1 while they are few, and never more than twofold.
 */
export function correctionFrom(earlier: readonly EarlierMove[], mode: MoveForecast['mode']): MoveForecast['correction'] {
  const same = earlier.filter(({ forecast }) => forecast.mode === mode).slice(0, mostMoves);
  const factor = (name: 'durationSeconds' | 'pauseMs' | 'bytes', corrected: 'duration' | 'pause' | 'bytes'): number => {
    const logs = same.flatMap(({ forecast, actual }) => {
      const [foreseen, took] = [forecast[name], actual[name]];
      if (foreseen === undefined || took === undefined || foreseen <= 0 || took <= 0) return [];
      return [Math.log(bounded((took * forecast.correction[corrected]) / foreseen, mostOfOne))];
    });
    if (logs.length === 0) return 1;
    const mean = logs.reduce((sum, each) => sum + each, 0) / logs.length;
    return Number(bounded(Math.exp((mean * logs.length) / (logs.length + 1)), mostOfAll).toFixed(3));
  };
  return {
    moves: same.length,
    duration: factor('durationSeconds', 'duration'),
    pause: factor('pauseMs', 'pause'),
    bytes: factor('bytes', 'bytes'),
  };
}

function bounded(value: number, most: number): number {
  return Math.min(most, Math.max(1 / most, value));
}
