// Package fan is the pure part of Fan: the mapping between overlay addresses
// and hosts, the types that describe a fan, and their text forms. It imports
// nothing but the standard library and touches nothing.
package fan
