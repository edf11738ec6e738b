package lxd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// instance is a container or a virtual machine.
type instance struct {
	Name     string            `json:"name"`
	Project  string            `json:"-"` // "" is the default one
	Status   string            `json:"status"`
	Config   map[string]string `json:"config"`
	Profiles []string          `json:"profiles"`
	Devices  map[string]device `json:"expanded_devices"` // the profiles' among them
}

// What marks instances and images that self-tests have made.
const (
	testKey      = "user.fanatic" // of an instance
	testProperty = "fanatic"      // of an image
	testValue    = "test"
	baseKey      = "volatile.base_image" // the image that an instance was made of
	instances    = "/1.0/instances"
	operations   = "/1.0/operations"
	stopped      = "Stopped"
)

// test says whether a self-test has made the instance.
func (i instance) test() bool { return i.Config[testKey] == testValue }

func (i instance) running() bool { return i.Status != stopped }

// String names the instance in a message.
func (i instance) String() string {
	text := i.Name
	if i.Project != "" && i.Project != defaultName {
		text += " of project " + i.Project
	}
	if i.running() {
		text += " (running)"
	}
	return text
}

// query names the instance's project in a request.
func (i instance) query() url.Values {
	if i.Project == "" {
		return nil
	}
	return url.Values{"project": {i.Project}}
}

func (s *Server) instance(ctx context.Context, name, project string) (instance, error) {
	i := instance{Project: project}
	err := s.get(ctx, path.Join(instances, name), i.query(), &i)
	return i, err
}

// users returns the instances of references, sorted. Those that have gone since they were
// listed are left out.
func (s *Server) users(ctx context.Context, references []string) ([]instance, error) {
	var list []instance
	for _, reference := range references {
		where, project := cutQuery(reference)
		i, err := s.instance(ctx, path.Base(where), project)
		if absent(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: look at instance %s: %w", s, path.Base(where), err)
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b instance) int { return strings.Compare(a.String(), b.String()) })
	return list, nil
}

// tests returns what self-tests have made: the instances, and the images that none of
// these is made of.
func (s *Server) tests(ctx context.Context) (made []instance, unused []string, err error) {
	var all []instance
	if err := s.get(ctx, instances, url.Values{"recursion": {"1"}}, &all); err != nil {
		return nil, nil, fmt.Errorf("%s: list instances: %w", s, err)
	}
	bases := map[string]bool{}
	for _, i := range all {
		if i.test() {
			made = append(made, i)
			bases[i.Config[baseKey]] = true
		}
	}
	var images []image
	if err := s.get(ctx, "/1.0/images", url.Values{"recursion": {"1"}}, &images); err != nil {
		return nil, nil, fmt.Errorf("%s: list images: %w", s, err)
	}
	for _, i := range images {
		if i.Properties[testProperty] == testValue && !bases[i.Fingerprint] {
			unused = append(unused, i.Fingerprint)
		}
	}
	return made, unused, nil
}

// image is an image of a daemon's store.
type image struct {
	Fingerprint string            `json:"fingerprint"`
	Properties  map[string]string `json:"properties"`
}

// Remove takes an instance away that Launch has made, and its image. One that is not there
// is fine, and one that Launch has not made stays and is an error.
func (s *Server) Remove(ctx context.Context, name string) error {
	if err := s.settle(ctx, name); err != nil {
		return err
	}
	i, err := s.instance(ctx, name, "")
	switch {
	case absent(err):
	case err != nil:
		return fmt.Errorf("%s: look at instance %s: %w", s, name, err)
	case !i.test():
		return fmt.Errorf("%s: the instance %s is none of fanatic's tests, so it stays; rename it: %s rename %s NAME", s, name, s.kind.command(), name)
	default:
		if err := s.delete(ctx, i); err != nil {
			return err
		}
	}
	_, unused, err := s.tests(ctx)
	if err != nil {
		return err
	}
	for _, fingerprint := range unused {
		err = errors.Join(err, s.deleteImage(ctx, fingerprint))
	}
	return err
}

// settle waits for what goes on with an instance to end: whoever has begun it may have been
// killed meanwhile, and a daemon refuses to delete what it is making.
func (s *Server) settle(ctx context.Context, name string) error {
	type operation struct {
		ID        string              `json:"id"`
		Resources map[string][]string `json:"resources"`
	}
	var byStatus map[string][]operation
	if err := s.get(ctx, operations, url.Values{"recursion": {"1"}}, &byStatus); err != nil {
		return fmt.Errorf("%s: list operations: %w", s, err)
	}
	for _, o := range slices.Concat(byStatus["pending"], byStatus["running"]) {
		for _, reference := range o.Resources["instances"] {
			if where, _ := cutQuery(reference); where != path.Join(instances, name) {
				continue
			}
			// Its own failure is nobody's business here.
			if err := s.wait(ctx, path.Join(operations, o.ID)); err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

// delete stops and deletes an instance.
func (s *Server) delete(ctx context.Context, i instance) error {
	where := path.Join(instances, i.Name)
	if i.running() {
		stop := map[string]any{"action": "stop", "force": true, "timeout": int(patience.Seconds())}
		_, err := s.call(ctx, request{method: http.MethodPut, path: where + "/state", body: stop}, nil)
		if now, lookErr := s.instance(ctx, i.Name, ""); err != nil && lookErr == nil && now.running() {
			return fmt.Errorf("%s: stop instance %s: %w", s, i.Name, err)
		}
	}
	if _, err := s.call(ctx, request{method: http.MethodDelete, path: where}, nil); err != nil && !absent(err) {
		return fmt.Errorf("%s: delete instance %s: %w", s, i.Name, err)
	}
	return nil
}

func (s *Server) deleteImage(ctx context.Context, fingerprint string) error {
	_, err := s.call(ctx, request{method: http.MethodDelete, path: "/1.0/images/" + fingerprint}, nil)
	if err != nil && !absent(err) {
		return fmt.Errorf("%s: delete image %s: %w", s, fingerprint, err)
	}
	return nil
}

// setProfiles gives an instance other profiles.
func (s *Server) setProfiles(ctx context.Context, i instance, profiles []string) error {
	body := map[string]any{"profiles": profiles}
	_, err := s.call(ctx, request{method: http.MethodPatch, path: path.Join(instances, i.Name), query: i.query(), body: body}, nil)
	if err != nil {
		return fmt.Errorf("%s: give instance %s the profiles %q: %w", s, i.Name, profiles, err)
	}
	return nil
}

// takeOff takes a profile off an instance that has it.
func (s *Server) takeOff(ctx context.Context, i instance, name string) error {
	now, err := s.instance(ctx, i.Name, i.Project)
	if absent(err) || err == nil && !slices.Contains(now.Profiles, name) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: look at instance %s: %w", s, i.Name, err)
	}
	return s.setProfiles(ctx, now, without(now.Profiles, name))
}

// putBack gives a profile back to an instance, at the place that it had.
func (s *Server) putBack(ctx context.Context, i instance, name string) error {
	now, err := s.instance(ctx, i.Name, i.Project)
	if absent(err) || err == nil && slices.Contains(now.Profiles, name) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: look at instance %s: %w", s, i.Name, err)
	}
	at := min(slices.Index(i.Profiles, name), len(now.Profiles))
	return s.setProfiles(ctx, now, slices.Insert(slices.Clone(now.Profiles), at, name))
}

// without returns the names but one. It is not nil, which would mean "as it is".
func without(names []string, name string) []string {
	rest := []string{}
	for _, n := range names {
		if n != name {
			rest = append(rest, n)
		}
	}
	return rest
}

// affected names the running instances whose network card is the default profile's, and so
// changes with it at once.
func (s *Server) affected(ctx context.Context, users []string, base *profile) ([]string, error) {
	list, err := s.users(ctx, users)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range list {
		if i.running() && maps.Equal(i.Devices[nic], base.Devices[nic]) {
			names = append(names, i.Name)
		}
	}
	return names, nil
}
