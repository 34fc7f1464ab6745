export { bench } from '../../bench/all';
