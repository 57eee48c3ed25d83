export { Random } from '../shared/random.ts';
