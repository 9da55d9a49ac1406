package engine

import "slices"

// A router connects the Producers and Consumers of its transports.
type router struct {
	m          *Machine
	id         string
	transports []*transport   // in order of creation
	observers  []*rtpObserver // in order of creation
	closing    bool           // what its lists have may be closed: nobody looks any more
}

// CreateRouter makes an empty Router.
func (m *Machine) CreateRouter(id string) error {
	if err := m.unused(id); err != nil {
		return err
	}
	r := &router{m: m, id: id}
	m.routers[id] = r
	m.routerList = append(m.routerList, r)
	m.logs.info.Debug("router created", "router", id)
	return nil
}

// CloseRouter closes a Router with everything in it. No notification tells of
// its children (media-plane §1.1).
func (m *Machine) CloseRouter(id string) error {
	r := m.routers[id]
	if r == nil {
		return notFound("Router", id)
	}
	r.close()
	return nil
}

func (r *router) close() {
	r.closing = true
	for _, t := range r.transports { // nobody is told of a Producer that goes with its Router
		for _, c := range t.consumers {
			c.silent = true
		}
		for _, c := range t.dataConsumers {
			c.silent = true
		}
	}
	for len(r.observers) > 0 { // first, so that none is told that Producers go
		r.observers[0].close()
	}
	for _, t := range take(&r.transports) {
		t.close()
	}
	r.m.logs.info.Debug("router closed", "router", r.id)
	delete(r.m.routers, r.id)
	r.m.routerList = slices.DeleteFunc(r.m.routerList, func(x *router) bool { return x == r })
}

// CloseTransport closes a transport. Consumers elsewhere of its Producers
// close with a [ConsumerProducerClose].
func (m *Machine) CloseTransport(id string) error {
	t := m.transports[id]
	if t == nil {
		return notFound("Transport", id)
	}
	t.close()
	return nil
}

// DumpRouter lists what a Router has, in order of creation.
type DumpRouter struct {
	ID           string
	TransportIDs []string
	ObserverIDs  []string
	Producers    []ProducerConsumers
	Consumers    []ConsumerProducer
	// The same for data.
	DataProducers []ProducerConsumers
	DataConsumers []ConsumerProducer
}

// ProducerConsumers are the Consumers of one Producer, and who else gets its packets.
type ProducerConsumers struct {
	ProducerID  string
	ConsumerIDs []string
	ObserverIDs []string // RTP observers; none of data
}

// ConsumerProducer is the Producer of one Consumer.
type ConsumerProducer struct{ ConsumerID, ProducerID string }

// DumpRouter describes the Router with that id.
func (m *Machine) DumpRouter(id string) (DumpRouter, error) {
	r := m.routers[id]
	if r == nil {
		return DumpRouter{}, notFound("Router", id)
	}
	d := DumpRouter{ID: id}
	for _, o := range r.observers {
		d.ObserverIDs = append(d.ObserverIDs, o.id)
	}
	for _, t := range r.transports {
		d.TransportIDs = append(d.TransportIDs, t.id)
		for _, p := range t.producers {
			pc := ProducerConsumers{ProducerID: p.id}
			for _, c := range p.consumers {
				pc.ConsumerIDs = append(pc.ConsumerIDs, c.id)
			}
			for _, o := range p.observations {
				pc.ObserverIDs = append(pc.ObserverIDs, o.o.id)
			}
			d.Producers = append(d.Producers, pc)
		}
		for _, c := range t.consumers {
			d.Consumers = append(d.Consumers, ConsumerProducer{c.id, c.producer.id})
		}
		for _, p := range t.dataProducers {
			pc := ProducerConsumers{ProducerID: p.id}
			for _, c := range p.consumers {
				pc.ConsumerIDs = append(pc.ConsumerIDs, c.id)
			}
			d.DataProducers = append(d.DataProducers, pc)
		}
		for _, c := range t.dataConsumers {
			d.DataConsumers = append(d.DataConsumers, ConsumerProducer{c.id, c.producer.id})
		}
	}
	return d, nil
}
