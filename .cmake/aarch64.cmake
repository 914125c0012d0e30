# Toolchain: compiles for 64-bit ARM on another machine and runs the result through qemu (tests/arm.sh).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

# Headers without code serve every processor, those of the C library beside them do not: links to the former alone.
set(shared_headers "${CMAKE_BINARY_DIR}/shared_headers")
file(MAKE_DIRECTORY "${shared_headers}")
foreach(name IN ITEMS doctest eigen3 nlohmann stb)
    if(EXISTS "/usr/include/${name}")
        file(CREATE_LINK "/usr/include/${name}" "${shared_headers}/${name}" SYMBOLIC)
    endif()
endforeach()
set(CMAKE_CXX_STANDARD_INCLUDE_DIRECTORIES "${shared_headers}")
set(CMAKE_DISABLE_FIND_PACKAGE_nlohmann_json ON)  # it would name all of /usr/include
set(SMOLVLM_DOCTEST_DIR "${shared_headers}" CACHE PATH "")
