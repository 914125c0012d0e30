#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include <smolvlm/core/arena.hpp>

using namespace smolvlm;

TEST_CASE("arena: pieces are aligned, apart from each other, and outlive the arena") {
    std::vector<Storage> pieces;
    const std::vector<std::size_t> sizes{1, 100, 16384, 16385, 400001, 1 << 20, (1 << 20) + 1, 3 << 20, 900000, 900000};
    {
        Arena arena;
        for (int round = 0; round < 5; ++round)  // more than one block's worth
            for (const std::size_t size : sizes) {
                pieces.push_back(arena.take(size));
                REQUIRE(pieces.back().capacity() >= size);
                std::memset(pieces.back().data(), static_cast<int>(pieces.size()), size);
            }
        Arena copy = arena;  // begins a block of its own
        pieces.push_back(copy.take(20000));
        std::memset(pieces.back().data(), static_cast<int>(pieces.size()), 20000);
        pieces.push_back(arena.take(20000));
        std::memset(pieces.back().data(), static_cast<int>(pieces.size()), 20000);
    }
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const std::size_t size = i < 5 * sizes.size() ? sizes[i % sizes.size()] : 20000;
        const auto* bytes = reinterpret_cast<const unsigned char*>(pieces[i].data());
        CHECK(reinterpret_cast<std::uintptr_t>(bytes) % 64 == 0);
        CHECK(bytes[0] == i + 1);
        CHECK(bytes[size - 1] == i + 1);
        CHECK(pieces[i].writable_alone());
    }
}

TEST_CASE("storage: a part may be written by its only holder, and keeps the whole alive; borrowed bytes may not") {
    Storage part;
    {
        Storage whole = Storage::allocate(1000);
        std::memset(whole.data(), 7, 1000);
        part = Storage::part(whole, 128, 64);
        CHECK(part.data() == whole.data() + 128);
        CHECK_FALSE(whole.writable_alone());  // the part sees it
    }
    CHECK(part.capacity() == 64);
    CHECK(part.writable_alone());
    CHECK_FALSE(part.borrowed());
    CHECK(part.data()[63] == std::byte{7});
    const Storage second = part;
    CHECK_FALSE(part.writable_alone());
    std::byte bytes[64];
    CHECK_FALSE(Storage::borrow(bytes, sizeof bytes, nullptr).writable_alone());
}

TEST_CASE("storage: what fills a huge page begins at one, from a pool too, and has the size that was asked for") {
    const auto begins_a_page = [](const Storage& s) { return reinterpret_cast<std::uintptr_t>(s.data()) % huge_page_bytes == 0; };
    const Storage large = Storage::allocate(5 << 20), small = Storage::allocate(3);
    CHECK(begins_a_page(large));
    CHECK(large.capacity() == 5 << 20);
    CHECK(small.capacity() == 64);
    Pool pool;
    const std::byte* before = nullptr;
    for (int i = 0; i < 3; ++i) {
        const Storage pooled = pool.take((5 << 20) + 1);  // freed, it is found again
        CHECK(begins_a_page(pooled));
        CHECK((i == 0 || pooled.data() == before));
        before = pooled.data();
    }
    CHECK(pool.fresh_allocations() == 1);
}
